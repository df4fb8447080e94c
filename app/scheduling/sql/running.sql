-- Running: dispatched and running jobs by lane, tenant and kind of work.
-- Takes   nothing
-- Gives   (lane, tenant, running, unclaimed, workflow, key, limits): the last three are the same for a kind
-- Locks   nothing
-- Index   job_active
SELECT lane, tenant, count(*) AS running, count(*) FILTER (WHERE state = 'dispatched') AS unclaimed,
       any_value(workflow) AS workflow, any_value(key) AS key, any_value(limits) AS limits
  FROM job WHERE state IN ('dispatched', 'running')
 GROUP BY lane, tenant, cap_group
