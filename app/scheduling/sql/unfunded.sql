-- Unfunded: jobs that wait for money, in the order in which they would run.
-- Takes   batch int (a tenant)
-- Gives   (tenant, job, need_nanousd)
-- Locks   nothing: wake_funded.sql looks again
-- Index   job_wanting_money
WITH RECURSIVE place AS (
    (SELECT tenant FROM job WHERE state = 'waiting' AND waiting_for = 'budget' ORDER BY tenant LIMIT 1)
    UNION ALL
    SELECT following.tenant
      FROM place CROSS JOIN LATERAL (
           SELECT tenant FROM job
            WHERE state = 'waiting' AND waiting_for = 'budget' AND tenant > place.tenant
            ORDER BY tenant LIMIT 1) AS following
)
SELECT place.tenant, line.id AS job, line.need_nanousd
  FROM place CROSS JOIN LATERAL (
       SELECT id, need_nanousd, rank FROM job
        WHERE tenant = place.tenant AND state = 'waiting' AND waiting_for = 'budget'
        ORDER BY rank, id LIMIT :batch) AS line
 ORDER BY place.tenant, line.rank, line.id
