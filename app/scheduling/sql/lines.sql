-- Lines: the heads of a shard's queue, one line for each lane, tenant and kind of work, each by rank.
-- Takes   lanes text[] · low int · high int: the first and the last bucket · free int · kinds int · half_life interval
-- Gives   (lane, tenant, cap_group, weight, tenant_most, had, depth, job, rank, cost, workflow, key, limits)
--         of the first `depth` jobs of each line; fewer rows than that: the line ends there
-- Locks   nothing: dispatch.sql looks at each job again
-- Index   job_queued: a skip scan finds each line by one descent, however many jobs stand in it.
--         Of a tenant with more than `kinds` lines in a lane it sees the first half as they are hashed, and
--         as many from a random place on: one tenant can't slow all, and none of its lines waits for ever.
WITH RECURSIVE chance AS MATERIALIZED (
    SELECT random(CAST('-9223372036854775808' AS bigint), 9223372036854775807) AS start
),
walk AS (
    SELECT head.lane, head.bucket, head.tenant, head.cap_group, 1 AS nth
      FROM unnest(CAST(:lanes AS text[])) AS served (lane) CROSS JOIN LATERAL (
           SELECT lane, bucket, tenant, cap_group FROM job
            WHERE state = 'queued' AND lane = served.lane AND bucket BETWEEN :low AND :high
            ORDER BY bucket, tenant, cap_group LIMIT 1) AS head
    UNION ALL
    SELECT following.lane, following.bucket, following.tenant, following.cap_group,
           CASE WHEN following.tenant = walk.tenant THEN walk.nth + 1 ELSE 1 END
      FROM walk CROSS JOIN chance CROSS JOIN LATERAL (
           SELECT lane, bucket, tenant, cap_group FROM job
            WHERE state = 'queued' AND lane = walk.lane AND bucket <= :high
              AND (bucket, tenant, cap_group) > (walk.bucket, walk.tenant,
                  CASE WHEN walk.nth >= :kinds THEN 9223372036854775807
                       WHEN walk.nth = :kinds / 2 THEN greatest(walk.cap_group, chance.start)
                       ELSE walk.cap_group END)
            ORDER BY bucket, tenant, cap_group LIMIT 1) AS following
),
line AS (
    SELECT walk.lane, walk.bucket, walk.tenant, walk.cap_group, t.weight, t.max_running AS tenant_most,
           -- Twice what would be its part if all cost alike; the dispatcher asks for more where it needs more.
           greatest(1, least(:free, ceil(2.0 * :free * t.weight / sum(t.weight) OVER ()))) AS depth
      FROM walk CROSS JOIN LATERAL (  -- LIMIT: else the planner may read all tenants for each line
           SELECT weight, max_running FROM tenant
            WHERE id = walk.tenant AND state = 'active' LIMIT 1) AS t
)
SELECT line.lane, line.tenant, line.cap_group, line.weight, line.tenant_most,
       coalesce(CAST(s.had_nanousd * power(0.5, extract(epoch FROM app_now() - s.at)
                     / extract(epoch FROM CAST(:half_life AS interval))) AS float8), 0.0) AS had,
       CAST(line.depth AS int) AS depth, head.job, head.rank, head.cost, head.workflow, head.key, head.limits
  FROM line
  LEFT JOIN served s ON s.lane = line.lane AND s.tenant = line.tenant
  CROSS JOIN LATERAL (
       SELECT q.id AS job, q.rank, greatest(1.0, q.predicted_nanousd * coalesce(c.ratio, 1.0)) AS cost, q.workflow, q.key, q.limits
         FROM job q LEFT JOIN workflow_cost c ON c.tenant = q.tenant AND c.workflow = q.workflow
        WHERE q.lane = line.lane AND q.bucket = line.bucket AND q.tenant = line.tenant AND q.cap_group = line.cap_group
          AND q.state = 'queued'
        ORDER BY q.rank, q.id LIMIT CAST(line.depth AS int)) AS head
