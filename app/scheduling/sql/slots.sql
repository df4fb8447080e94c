-- Slots: what each live worker has and can still take. Derived from rows, so nothing leaks.
-- Takes   silence interval
-- Gives   (lanes, slots, free, unclaimed (in all, the same in each row)) of each worker that was heard and
--         isn't stopping, paused or drained
-- Locks   nothing
-- Index   worker_heard, attempt_of_worker, pause_pkey
SELECT w.lanes, w.slots,
       w.slots - (SELECT count(*) FROM attempt a WHERE a.worker = w.id AND a.ended_at IS NULL) AS free,
       (SELECT count(*) FROM attempt a WHERE a.worker IS NULL AND a.ended_at IS NULL) AS unclaimed
  FROM worker w
 WHERE w.seen_at > app_now() - CAST(:silence AS interval) AND w.stopping_at IS NULL
   AND NOT EXISTS (SELECT FROM pause p
                    WHERE p.kind = 'worker' AND p.owner = '00000000-0000-0000-0000-000000000000'
                      AND p.name = CAST(w.id AS text))
