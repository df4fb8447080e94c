-- Remember: add what a pass released to the minute's buckets, the memory of fairness.
-- Takes   lane text · tenants uuid[] · costs bigint[]
-- Gives   nothing
-- Locks   released, in tenant order
-- Races   none: only the leader of the shard writes here
INSERT INTO released AS r (tenant, lane, minute, cost_nanousd)
SELECT tenant, :lane, date_trunc('minute', app_now()), cost
  FROM unnest(CAST(:tenants AS uuid[]), CAST(:costs AS bigint[])) AS spent (tenant, cost)
 ORDER BY tenant
ON CONFLICT (tenant, lane, minute) DO UPDATE SET cost_nanousd = r.cost_nanousd + excluded.cost_nanousd
