-- Levels: how much of these tenants waits, by lane.
-- Takes   tenants uuid[]
-- Gives   (tenant, lane, jobs, cost_nanousd, age_seconds, pace_nanousd, counted_at); none where nothing waits
-- Locks   nothing
-- Index   queue_level_pkey
SELECT tenant, lane, jobs, cost_nanousd,
       CAST(coalesce(extract(epoch FROM app_now() - oldest_at), 0) AS float8) AS age_seconds,
       pace_nanousd, counted_at
  FROM queue_level WHERE tenant = ANY (CAST(:tenants AS uuid[]))
