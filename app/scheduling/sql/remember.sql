-- Remember: what a pass released. `served` is the memory of fairness, `released` the pace of the queue, by minute.
-- Takes   shard int · wants jsonb · lanes text[] · tenants uuid[] · had float8[] · costs bigint[]
--         (the same length) · levels jsonb
-- Gives   nothing
-- Locks   dispatch_shard (held since leading.sql); served and released, in the order of lane and tenant
-- Races   none: only the leader of the shard writes here
-- Index   served_pkey, released_pkey
WITH given AS MATERIALIZED (
    SELECT lane, tenant, had, cost
      FROM unnest(CAST(:lanes AS text[]), CAST(:tenants AS uuid[]), CAST(:had AS float8[]),
                  CAST(:costs AS bigint[])) AS given (lane, tenant, had, cost)
     ORDER BY lane, tenant
),
reached AS (
    UPDATE dispatch_shard SET levels = CAST(:levels AS jsonb), levels_at = app_now(),
           wants = CAST(:wants AS jsonb), wants_at = app_now()
     WHERE id = :shard
),
remembered AS (
    INSERT INTO served (lane, tenant, had_nanousd, at)
    SELECT lane, tenant, had, app_now() FROM given
    ON CONFLICT (lane, tenant) DO UPDATE SET had_nanousd = excluded.had_nanousd, at = excluded.at
)
INSERT INTO released AS r (tenant, lane, minute, cost_nanousd)
SELECT tenant, lane, date_trunc('minute', app_now()), cost FROM given
ON CONFLICT (tenant, lane, minute) DO UPDATE SET cost_nanousd = r.cost_nanousd + excluded.cost_nanousd
