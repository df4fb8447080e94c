-- Learn: what workflows cost beside what was predicted.
-- Takes   tenants uuid[] · workflows text[] · ratios float8[] (the same length)
-- Gives   nothing
-- Locks   workflow_cost, in key order
-- Races   another learner: the later one stands
-- Index   workflow_cost_pkey
INSERT INTO workflow_cost (tenant, workflow, ratio, at)
SELECT tenant, workflow, ratio, app_now()
  FROM unnest(CAST(:tenants AS uuid[]), CAST(:workflows AS text[]), CAST(:ratios AS float8[]))
       AS learnt (tenant, workflow, ratio)
 ORDER BY tenant, workflow
ON CONFLICT (tenant, workflow) DO UPDATE SET ratio = excluded.ratio, at = excluded.at
