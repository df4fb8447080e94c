-- Passed over: jobs that an earlier page left, and that have ended long enough ago by now, or are gone.
-- Takes   kind text · kept interval · after uuid · batch int
-- Gives   (job, gone), by id
-- Locks   nothing: erase.sql and forget.sql look at each job again
-- Index   purge_later_pkey, job_pkey
SELECT l.job, j.id IS NULL AS gone FROM purge_later l LEFT JOIN job j ON j.id = l.job
 WHERE l.kind = :kind AND l.job > :after
   AND (j.id IS NULL OR j.finished_at < app_now() - CAST(:kept AS interval))
 ORDER BY l.job LIMIT :batch
