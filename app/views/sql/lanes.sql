-- Lanes: what waits and what runs in each, over all tenants.
-- Takes   lanes text[] · platform uuid
-- Gives   (lane, queued, cost_nanousd, age_seconds: as the levels loop counted last; running) of each
-- Locks   nothing
-- Index   queue_level_pkey, job_active
SELECT given.lane, coalesce(l.jobs, 0) AS queued, coalesce(l.cost_nanousd, 0) AS cost_nanousd,
       CAST(coalesce(extract(epoch FROM app_now() - l.oldest_at), 0) AS float8) AS age_seconds,
       (SELECT count(*) FROM job
         WHERE state IN ('dispatched', 'running') AND job.lane = given.lane) AS running
  FROM unnest(CAST(:lanes AS text[])) AS given (lane)
  LEFT JOIN queue_level l ON l.tenant = :platform AND l.lane = given.lane
