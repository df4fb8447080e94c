-- Workers: every process that was heard of in the last hour, with how many jobs it has.
-- Takes   silence interval
-- Gives   (id, host, pid, lanes, slots, running, alive, stopping, started_at, seen_at), the youngest first
-- Locks   nothing
-- Index   attempt_of_worker
SELECT w.id, w.host, w.pid, w.lanes, w.slots,
       (SELECT count(*) FROM attempt a WHERE a.worker = w.id AND a.ended_at IS NULL) AS running,
       w.seen_at > app_now() - CAST(:silence AS interval) AS alive, w.stopping_at IS NOT NULL AS stopping,
       w.started_at, w.seen_at
  FROM worker w
 ORDER BY w.id DESC
