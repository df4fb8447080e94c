-- Count page: the next queued jobs in the order of their index, summed by lane and tenant.
-- Takes   lane text · bucket smallint · tenant uuid · cap_group bigint · rank timestamptz · job uuid: the last job counted; page int
-- Gives   (lane, bucket, tenant, jobs, cost_nanousd, oldest_at, last_group, last_rank, last_job), in that order; no
--         row: the end
-- Locks   nothing, and holds no snapshot longer than a page
-- Index   job_queued
WITH page AS MATERIALIZED (
    SELECT lane, bucket, tenant, cap_group, rank, id, predicted_nanousd, queued_at FROM job
     WHERE state = 'queued'
       AND (lane, bucket, tenant, cap_group, rank, id) > (:lane, :bucket, :tenant, :cap_group, :rank, :job)
     ORDER BY lane, bucket, tenant, cap_group, rank, id LIMIT :page
),
line AS (
    SELECT lane, bucket, tenant, cap_group, count(*) AS jobs, sum(predicted_nanousd) AS cost_nanousd,
           min(queued_at) AS oldest_at, max(rank) AS last_rank,
           (array_agg(id ORDER BY rank DESC, id DESC))[1] AS last_job
      FROM page GROUP BY lane, bucket, tenant, cap_group
)
SELECT lane, bucket, tenant, CAST(sum(jobs) AS bigint) AS jobs, CAST(sum(cost_nanousd) AS bigint) AS cost_nanousd,
       min(oldest_at) AS oldest_at, max(cap_group) AS last_group,
       (array_agg(last_rank ORDER BY cap_group DESC))[1] AS last_rank,
       (array_agg(last_job ORDER BY cap_group DESC))[1] AS last_job
  FROM line GROUP BY lane, bucket, tenant ORDER BY lane, bucket, tenant
