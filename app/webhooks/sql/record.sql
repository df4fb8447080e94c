-- Record: a try is written down and its delivery goes on, is delivered or has failed.
-- Takes   delivery uuid · claimed_at timestamptz, the fence · state, reason text · delay interval ·
--         status int · error text · duration_ms int
-- Gives   (number) of the try, or no row: the delivery is another's by now
-- Locks   delivery by delivery_pkey
-- Races   a sender whose lease ran out: it may still say `delivered`, which is a fact, and nothing else
WITH held AS (
    UPDATE delivery
       SET tries = tries + 1, state = :state, reason = :reason, lease_until = NULL, claimed_at = NULL,
           due_at = app_now() + :delay,
           finished_at = CASE WHEN :state <> 'pending' THEN app_now() END
     WHERE id = :delivery AND finished_at IS NULL
       AND (claimed_at = :claimed_at OR :state = 'delivered')
    RETURNING id, tenant, tries
)
INSERT INTO delivery_try (delivery, number, tenant, at, status, error, duration_ms)
SELECT id, tries, tenant, app_now(), :status, :error, :duration_ms FROM held
RETURNING number
