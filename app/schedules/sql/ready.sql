-- Ready: the runs whose turn it is, the first of each schedule, with the jobs of earlier ones that are open.
-- Takes   batch int
-- Gives   (run, due_at, tenant, schedule, key, job, overlap, plan_limits, limits, still uuid[]) by run; none of a
--         suspended tenant; where overlap is `queue`, none while an earlier job is open
-- Locks   nothing: what a run becomes is written only while it is pending
-- Races   a pause or deletion meanwhile: its job may still be made, and the run is then what they made of it
-- Index   schedule_run_pending, schedule_run_of, schedule_pkey, job_pkey
SELECT r.id AS run, r.due_at, r.tenant, r.schedule, s.key, s.job, s.overlap,
       p.limits AS plan_limits, t.limits, earlier.still
  FROM schedule_run r
  JOIN schedule s ON s.id = r.schedule
  JOIN tenant t ON t.id = r.tenant AND t.state = 'active'
  LEFT JOIN plan p ON p.name = t.plan
 CROSS JOIN LATERAL (
       SELECT coalesce(bool_or(e.outcome = 'pending'), false) AS waits,
              coalesce(array_agg(j.id) FILTER (WHERE j.id IS NOT NULL), '{}') AS still
         FROM schedule_run e
         LEFT JOIN job j ON j.id = e.job AND j.finished_at IS NULL
        WHERE e.schedule = r.schedule AND e.id < r.id AND e.outcome IN ('pending', 'admitted')) AS earlier
 WHERE r.outcome = 'pending' AND NOT earlier.waits
   AND (s.overlap <> 'queue' OR earlier.still = '{}')
 ORDER BY r.id
 LIMIT :batch
