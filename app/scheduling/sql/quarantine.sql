-- Quarantine: how much waits to run alone, for how long already, and who could run it.
-- Takes   silence interval
-- Gives   (queued, active, oldest_seconds (of the queued, else 0), workers): one row
-- Locks   nothing
-- Index   job_queued, job_active, worker_heard
SELECT queued.jobs AS queued, active.jobs AS active, workers.alive AS workers,
       CAST(coalesce(extract(epoch FROM app_now() - queued.oldest), 0) AS float8) AS oldest_seconds
  FROM (SELECT count(*) AS jobs, min(queued_at) AS oldest FROM job
         WHERE lane = 'quarantine' AND state = 'queued') AS queued,
       (SELECT count(*) AS jobs FROM job
         WHERE lane = 'quarantine' AND state IN ('dispatched', 'running')) AS active,
       (SELECT count(*) AS alive FROM worker
         WHERE seen_at > app_now() - CAST(:silence AS interval) AND stopping_at IS NULL
           AND 'quarantine' = ANY (lanes)) AS workers
