-- Busy: dispatched and running jobs by lane and tenant.
-- Takes   nothing
-- Gives   (lane, tenant, running, unclaimed, cost_nanousd)
-- Locks   nothing
-- Index   job_active
SELECT lane, tenant, count(*) AS running, count(*) FILTER (WHERE state = 'dispatched') AS unclaimed,
       sum(predicted_nanousd) AS cost_nanousd
  FROM job WHERE state IN ('dispatched', 'running')
 GROUP BY lane, tenant
