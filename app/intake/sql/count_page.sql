-- Count page: the next queued jobs in the order of their index, summed by lane and tenant.
-- Takes   lane text · tenant uuid · rank timestamptz · job uuid: the last job counted; page int
-- Gives   (lane, tenant, jobs, cost_nanousd, oldest_at, last_rank, last_job), in that order; no row: the end
-- Locks   nothing, and holds no snapshot longer than a page
-- Index   job_queued
WITH page AS MATERIALIZED (
    SELECT lane, tenant, rank, id, predicted_nanousd, queued_at FROM job
     WHERE state = 'queued' AND (lane, tenant, rank, id) > (:lane, :tenant, :rank, :job)
     ORDER BY lane, tenant, rank, id LIMIT :page
)
SELECT lane, tenant, count(*) AS jobs, CAST(sum(predicted_nanousd) AS bigint) AS cost_nanousd,
       min(queued_at) AS oldest_at, max(rank) AS last_rank,
       (array_agg(id ORDER BY rank DESC, id DESC))[1] AS last_job
  FROM page GROUP BY lane, tenant ORDER BY lane, tenant
