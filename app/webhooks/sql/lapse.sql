-- Lapse: deliveries whose lease is over are due again; it costs them no try.
-- Takes   –
-- Gives   (id) of each
-- Locks   delivery, SKIP LOCKED
-- Races   its sender, alive after all: whoever commits first; what it then records is fenced by
--         claimed_at, and a success counts all the same
-- Index   delivery_leased
UPDATE delivery SET state = 'pending', lease_until = NULL, claimed_at = NULL, due_at = app_now()
 WHERE id = ANY (ARRAY(
    SELECT id FROM delivery WHERE state = 'dispatched' AND lease_until <= app_now()
       FOR UPDATE SKIP LOCKED))
RETURNING id
