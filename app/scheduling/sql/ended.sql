-- Ended: jobs with model calls that ended since the last look, with what they cost over all tries.
-- Takes   batch int
-- Gives   (tenant, workflow, predicted_nanousd, cost_nanousd, counts (a cancelled job tells nothing), ratio
--         (learnt before), finished_at), in order of their end; more than a batch where many ended at once
-- Locks   nothing
-- Races   an end that commits late: five seconds are left for it
-- Index   job_spent, usage_line_of_job
WITH since AS MATERIALIZED (
    SELECT learnt_until AS at FROM dispatch_shard WHERE id = 0
),
edge AS MATERIALIZED (
    SELECT max(finished_at) AS at FROM (
           SELECT finished_at FROM job
            WHERE finished_at > (SELECT at FROM since) AND finished_at < app_now() - interval '5 seconds'
              AND predicted_nanousd > 1
            ORDER BY finished_at LIMIT :batch) AS next
)
SELECT j.tenant, j.workflow, j.predicted_nanousd, coalesce(spent.cost, 0) AS cost_nanousd,
       j.state IN ('succeeded', 'failed') AS counts, coalesce(c.ratio, 1.0) AS ratio, j.finished_at
  FROM job j
  LEFT JOIN workflow_cost c ON c.tenant = j.tenant AND c.workflow = j.workflow
 CROSS JOIN LATERAL (
       SELECT CAST(sum(cost_nanousd) AS bigint) AS cost FROM usage_line WHERE job = j.id) AS spent
 WHERE j.finished_at > (SELECT at FROM since) AND j.finished_at <= (SELECT at FROM edge)
   AND j.predicted_nanousd > 1
 ORDER BY j.finished_at
