-- Roll: take pending lines and add them to the sums of their quarters of an hour.
-- Takes   batch int
-- Gives   (taken): how many lines
-- Locks   usage_pending rows of the batch, then usage_rollup rows in key order
-- Races   another roll: it skips the rows taken here. Run twice: a line is pending once
-- Index   usage_pending_pkey, usage_line_pkey, usage_line_call_kind_key, usage_rollup_pkey
WITH taken AS MATERIALIZED (
    DELETE FROM usage_pending
     WHERE line = ANY (ARRAY(SELECT line FROM usage_pending ORDER BY line LIMIT :batch FOR UPDATE SKIP LOCKED))
    RETURNING line
),
summed AS (
    SELECT l.tenant, date_bin('15 minutes', l.at, '2000-01-01 00:00Z') AS bucket_at,
           l.workflow, l.provider, l.model, l.lane,
           coalesce(l.key, '00000000-0000-0000-0000-000000000000') AS key,
           count(*) FILTER (WHERE l.kind = 'charge') AS calls,
           CAST(sum(l.input_tokens) AS bigint) AS input_tokens,
           CAST(sum(l.cached_tokens) AS bigint) AS cached_tokens,
           CAST(sum(l.cache_write_tokens) AS bigint) AS cache_write_tokens,
           CAST(sum(l.output_tokens) AS bigint) AS output_tokens,
           CAST(sum(l.reasoning_tokens) AS bigint) AS reasoning_tokens,
           CAST(sum(l.cost_nanousd) AS bigint) AS cost_nanousd,
           -- A correction makes certain what its charge had booked without knowing.
           CAST(sum(CASE WHEN l.unconfirmed THEN l.cost_nanousd ELSE -coalesce(presumed.cost_nanousd, 0) END)
             AS bigint) AS unconfirmed_nanousd
      FROM taken JOIN usage_line l ON l.id = taken.line
      LEFT JOIN usage_line presumed
        ON l.kind = 'correction' AND presumed.call = l.call AND presumed.kind = 'charge' AND presumed.unconfirmed
     GROUP BY 1, 2, 3, 4, 5, 6, 7
),
added AS (
    INSERT INTO usage_rollup AS r
           (tenant, bucket_at, workflow, provider, model, lane, key, calls, input_tokens, cached_tokens,
            cache_write_tokens, output_tokens, reasoning_tokens, cost_nanousd, unconfirmed_nanousd)
    SELECT tenant, bucket_at, workflow, provider, model, lane, key, calls, input_tokens, cached_tokens,
           cache_write_tokens, output_tokens, reasoning_tokens, cost_nanousd, unconfirmed_nanousd
      FROM summed ORDER BY tenant, bucket_at, workflow, provider, model, lane, key
    ON CONFLICT (tenant, bucket_at, workflow, provider, model, lane, key) DO UPDATE SET
        calls = r.calls + excluded.calls,
        input_tokens = r.input_tokens + excluded.input_tokens,
        cached_tokens = r.cached_tokens + excluded.cached_tokens,
        cache_write_tokens = r.cache_write_tokens + excluded.cache_write_tokens,
        output_tokens = r.output_tokens + excluded.output_tokens,
        reasoning_tokens = r.reasoning_tokens + excluded.reasoning_tokens,
        cost_nanousd = r.cost_nanousd + excluded.cost_nanousd,
        unconfirmed_nanousd = r.unconfirmed_nanousd + excluded.unconfirmed_nanousd
)
SELECT count(*) AS taken FROM taken
