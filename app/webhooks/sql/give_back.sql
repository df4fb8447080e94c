-- Give back: deliveries whose message could not be published are due again at once.
-- Takes   deliveries uuid[]
-- Gives   (id) of each that was still unclaimed
-- Locks   delivery by delivery_pkey, in id order
-- Races   the message came through all the same: its sender has claimed it, or finds it pending
UPDATE delivery SET state = 'pending', lease_until = NULL
 WHERE id = ANY (ARRAY(
    SELECT id FROM delivery
     WHERE id = ANY (CAST(:deliveries AS uuid[])) AND state = 'dispatched' AND claimed_at IS NULL
     ORDER BY id FOR UPDATE))
RETURNING id
