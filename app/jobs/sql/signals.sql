-- Signals: which of a worker's attempts should stop, and why.
-- Takes   attempts uuid[], jobs uuid[] (the same length)
-- Gives   (attempt, reason) of those to stop: lost | cancelled | expired
-- Locks   nothing: a flag seen a second late is seen at the next heartbeat
-- Index   job_pkey
SELECT mine.attempt,
       CASE WHEN job.current_attempt IS DISTINCT FROM mine.attempt THEN 'lost'
            WHEN job.cancel_requested_at IS NOT NULL THEN 'cancelled'
            ELSE 'expired' END AS reason
  FROM unnest(CAST(:attempts AS uuid[]), CAST(:jobs AS uuid[])) AS mine (attempt, job)
  JOIN job ON job.id = mine.job
 WHERE job.current_attempt IS DISTINCT FROM mine.attempt
    OR job.cancel_requested_at IS NOT NULL
    OR job.deadline_at <= app_now()
