-- Begin sealing: one sealer at a time, and none for ever.
-- Takes   nothing
-- Gives   whether the lock is ours, until the end of the transaction
-- Locks   an advisory lock of the transaction; tries, never waits
-- Races   another sealer: gets false. One that froze inside its transaction loses it after 10 s
SELECT pg_try_advisory_xact_lock(7214, 1)
FROM (SELECT set_config('idle_in_transaction_session_timeout', '10s', true)) AS bounded
