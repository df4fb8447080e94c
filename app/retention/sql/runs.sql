-- Runs: what schedules did long ago.
-- Takes   until uuid · batch int
-- Gives   a row for each one that went
-- Locks   schedule_run, SKIP LOCKED
-- Races   none: a run that is over is not written any more
-- Index   schedule_run_pkey
DELETE FROM schedule_run
 WHERE id IN (SELECT id FROM schedule_run
               WHERE id < :until AND outcome <> 'pending' ORDER BY id LIMIT :batch FOR UPDATE SKIP LOCKED)
RETURNING 1
