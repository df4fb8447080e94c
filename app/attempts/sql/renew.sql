-- Heartbeat: one statement a process renews the leases of all its attempts.
-- Takes   attempts uuid[] · worker uuid · lease interval
-- Gives   (attempt) of each that was renewed. One that is missing is being written (a locked row is
--         alive: its own write renews it) or has ended: signals.sql tells which
-- Locks   attempt, only the rows it returns
-- Races   reaper, finish: SKIP LOCKED
-- Index   attempt_pkey
WITH mine AS MATERIALIZED (
    SELECT id FROM attempt
     WHERE id = ANY (CAST(:attempts AS uuid[])) AND ended_at IS NULL AND worker = :worker
     ORDER BY id FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE attempt SET lease_until = app_now() + CAST(:lease AS interval)
 WHERE id = ANY (ARRAY(SELECT id FROM mine))
RETURNING id AS attempt
