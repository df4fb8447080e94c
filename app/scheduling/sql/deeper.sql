-- Deeper: more of some lines, where their heads were not enough to say who is next.
-- Takes   lanes text[] · tenants uuid[] · groups bigint[] (the same length) · depth int
-- Gives   (lane, tenant, cap_group, job, rank, cost) of the first `depth` jobs of each line
-- Locks   nothing: dispatch.sql looks at each job again
-- Index   job_queued
SELECT line.lane, line.tenant, line.cap_group, head.job, head.rank, head.cost
  FROM unnest(CAST(:lanes AS text[]), CAST(:tenants AS uuid[]), CAST(:groups AS bigint[]))
       AS line (lane, tenant, cap_group)
 CROSS JOIN LATERAL (
       SELECT q.id AS job, q.rank, greatest(1.0, q.predicted_nanousd * coalesce(c.ratio, 1.0)) AS cost
         FROM job q LEFT JOIN workflow_cost c ON c.tenant = q.tenant AND c.workflow = q.workflow
        WHERE q.lane = line.lane AND q.bucket = get_byte(uuid_send(line.tenant), 15)
          AND q.tenant = line.tenant AND q.cap_group = line.cap_group AND q.state = 'queued'
        ORDER BY q.rank, q.id LIMIT :depth) AS head
