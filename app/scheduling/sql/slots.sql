-- Slots: what each live worker can still take. Derived from rows, so nothing leaks.
-- Takes   silence interval
-- Gives   (lanes, free) of each worker that was heard and isn't stopping
-- Locks   nothing
-- Index   worker_heard, attempt_of_worker
SELECT w.lanes, w.slots - (SELECT count(*) FROM attempt a WHERE a.worker = w.id AND a.ended_at IS NULL) AS free
  FROM worker w
 WHERE w.seen_at > app_now() - CAST(:silence AS interval) AND w.stopping_at IS NULL
