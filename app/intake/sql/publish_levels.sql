-- Publish levels: what was counted replaces what was said before, with the pace at which work was released.
-- Takes   lanes text[] · tenants uuid[] · jobs bigint[] · costs bigint[] · oldest timestamptz[], all as long;
--         platform uuid, with a row of each lane
-- Gives   nothing
-- Locks   queue_level, in key order
-- Races   another counter: the later one stands
-- Index   queue_level_pkey, released_pkey
WITH counted AS MATERIALIZED (
    SELECT lane, tenant, jobs, cost, oldest
      FROM unnest(CAST(:lanes AS text[]), CAST(:tenants AS uuid[]), CAST(:jobs AS bigint[]),
                  CAST(:costs AS bigint[]), CAST(:oldest AS timestamptz[]))
           AS c (lane, tenant, jobs, cost, oldest)
),
lately AS MATERIALIZED (
    SELECT tenant, lane, sum(cost_nanousd) AS cost FROM released
     WHERE minute >= date_trunc('minute', app_now()) - interval '1 minute'
     GROUP BY tenant, lane
),
pace AS (
    SELECT counted.tenant, counted.lane,
           CAST(60 * coalesce(CASE WHEN counted.tenant = :platform
                                   THEN (SELECT sum(cost) FROM lately l WHERE l.lane = counted.lane)
                                   ELSE lately.cost END, 0)
                / extract(epoch FROM app_now() - date_trunc('minute', app_now()) + interval '1 minute')
                AS bigint) AS nanousd
      FROM counted LEFT JOIN lately ON lately.tenant = counted.tenant AND lately.lane = counted.lane
),
gone AS (
    DELETE FROM queue_level l
     WHERE NOT EXISTS (SELECT FROM counted WHERE counted.tenant = l.tenant AND counted.lane = l.lane)
)
INSERT INTO queue_level AS l (tenant, lane, jobs, cost_nanousd, oldest_at, pace_nanousd, counted_at)
SELECT counted.tenant, counted.lane, counted.jobs, counted.cost, counted.oldest, pace.nanousd, app_now()
  FROM counted JOIN pace ON pace.tenant = counted.tenant AND pace.lane = counted.lane
 ORDER BY counted.tenant, counted.lane
ON CONFLICT (tenant, lane) DO UPDATE SET
    jobs = excluded.jobs, cost_nanousd = excluded.cost_nanousd, oldest_at = excluded.oldest_at,
    pace_nanousd = excluded.pace_nanousd, counted_at = excluded.counted_at
