-- Waiting: tenants with queued jobs, by lane, with what fairness asks of each.
-- Takes   batch int · half_life interval
-- Gives   (lane, tenant, waiting (counted up to batch), head, next_nanousd, weight, cap, lately_nanousd)
-- Locks   nothing
-- Index   job_queued: a skip scan finds each (lane, tenant) by one descent (1,000 tenants: 8 ms)
WITH RECURSIVE place AS (
    (SELECT lane, tenant FROM job WHERE state = 'queued' ORDER BY lane, tenant LIMIT 1)
    UNION ALL
    SELECT following.lane, following.tenant
      FROM place CROSS JOIN LATERAL (
           SELECT lane, tenant FROM job
            WHERE state = 'queued' AND (lane, tenant) > (place.lane, place.tenant)
            ORDER BY lane, tenant LIMIT 1) AS following
),
lately AS (
    SELECT tenant, sum(cost_nanousd * power(0.5, extract(epoch FROM app_now() - minute)
                       / extract(epoch FROM CAST(:half_life AS interval)))) AS cost
      FROM released WHERE minute > app_now() - 10 * CAST(:half_life AS interval)
     GROUP BY tenant
)
SELECT place.lane, place.tenant, line.waiting, head.rank AS head, head.predicted_nanousd AS next_nanousd,
       t.weight, t.max_running AS cap, CAST(coalesce(lately.cost, 0) AS float8) AS lately_nanousd
  FROM place
  JOIN tenant t ON t.id = place.tenant AND t.state = 'active'
  CROSS JOIN LATERAL (
       SELECT rank, predicted_nanousd FROM job
        WHERE lane = place.lane AND tenant = place.tenant AND state = 'queued'
        ORDER BY rank, id LIMIT 1) AS head
  CROSS JOIN LATERAL (
       SELECT count(*) AS waiting FROM (
              SELECT FROM job
               WHERE lane = place.lane AND tenant = place.tenant AND state = 'queued'
               LIMIT :batch) AS counted) AS line
  LEFT JOIN lately ON lately.tenant = place.tenant
