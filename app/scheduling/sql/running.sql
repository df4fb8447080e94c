-- Running: dispatched and running jobs of some buckets, by lane, tenant and kind of work.
-- Takes   low int · high int: the first and the last bucket
-- Gives   (lane, bucket, tenant, running, unclaimed, workflow, key, limits): the last three are the same for a kind
-- Locks   nothing
-- Index   job_active
SELECT lane, bucket, tenant, count(*) AS running, count(*) FILTER (WHERE state = 'dispatched') AS unclaimed,
       any_value(workflow) AS workflow, any_value(key) AS key, any_value(limits) AS limits
  FROM job WHERE state IN ('dispatched', 'running') AND bucket BETWEEN :low AND :high
 GROUP BY lane, bucket, tenant, cap_group
