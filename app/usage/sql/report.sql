-- Report: exact sums of usage, grouped as asked: whole quarters from the rollups and the lines pending
-- for them, the ends of the range that cut a quarter from the lines themselves. Tags are in the lines
-- alone: cut by them, the whole range is such an end, and a line counts under each of its tags.
-- Takes   tenant uuid or NULL for all · since, until timestamptz, on quarters: the middle of the range
--         starts, ends timestamptz[]: what is left of it at both ends · workflow, model text or NULL
--         unit text (hour, day, month) or NULL · zone text · by_tenant … by_tag boolean · most int
-- Gives   (period, local, tenant, workflow, model, provider, lane, key, tag, calls,
--         tokens …, cost …), in that order
-- Locks   nothing; one statement is one snapshot, so that a line is either pending or summed
-- Races   none
-- Index   usage_rollup_pkey, usage_pending_pkey, usage_line_pkey, usage_line_by_time
WITH line AS (
    SELECT l.* FROM usage_pending p JOIN usage_line l ON l.id = p.line
     WHERE l.at >= CAST(:since AS timestamptz) AND l.at < CAST(:until AS timestamptz)
    UNION ALL
    SELECT l.* FROM unnest(CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[])) AS edge (starts, ends)
      JOIN usage_line l ON l.at >= edge.starts AND l.at < edge.ends
       AND (CAST(:tenant AS uuid) IS NULL OR l.tenant = CAST(:tenant AS uuid))
),
fact AS (
    SELECT bucket_at AS at, tenant, workflow, provider, model, lane, key, CAST('{}' AS text[]) AS tags, calls, input_tokens, cached_tokens,
           cache_write_tokens, output_tokens, reasoning_tokens, cost_nanousd, unconfirmed_nanousd
      FROM usage_rollup
     WHERE bucket_at >= CAST(:since AS timestamptz) AND bucket_at < CAST(:until AS timestamptz)
    UNION ALL
    SELECT l.at, l.tenant, l.workflow, l.provider, l.model, l.lane,
           coalesce(l.key, '00000000-0000-0000-0000-000000000000'), l.tags, CASE l.kind WHEN 'charge' THEN 1 ELSE 0 END,
           l.input_tokens, l.cached_tokens, l.cache_write_tokens, l.output_tokens, l.reasoning_tokens,
           l.cost_nanousd, CASE WHEN l.unconfirmed THEN l.cost_nanousd ELSE -coalesce(presumed.cost_nanousd, 0) END
      FROM line l
      LEFT JOIN usage_line presumed
        ON l.kind = 'correction' AND presumed.call = l.call AND presumed.kind = 'charge' AND presumed.unconfirmed
),
cut AS (
    SELECT date_trunc(CAST(:unit AS text), at, CAST(:zone AS text)) AS period,
           CASE WHEN :by_tenant THEN tenant END AS tenant,
           CASE WHEN :by_workflow THEN workflow END AS workflow,
           CASE WHEN :by_model THEN model END AS model,
           CASE WHEN :by_provider THEN provider END AS provider,
           CASE WHEN :by_lane THEN lane END AS lane,
           CASE WHEN :by_key THEN key END AS key,
           CASE WHEN :by_tag THEN coalesce(tag, '') END AS tag,
           calls, input_tokens, cached_tokens, cache_write_tokens, output_tokens, reasoning_tokens,
           cost_nanousd, unconfirmed_nanousd
      FROM fact
      LEFT JOIN LATERAL unnest(CASE WHEN :by_tag THEN tags END) AS one (tag) ON true
     WHERE (CAST(:tenant AS uuid) IS NULL OR tenant = CAST(:tenant AS uuid))
       AND (CAST(:workflow AS text) IS NULL OR workflow = CAST(:workflow AS text))
       AND (CAST(:model AS text) IS NULL OR model = CAST(:model AS text))
)
SELECT period, period AT TIME ZONE CAST(:zone AS text) AS local, tenant, workflow, model, provider, lane,
       key, tag, CAST(sum(calls) AS bigint) AS calls,
       CAST(sum(input_tokens) AS bigint) AS input_tokens,
       CAST(sum(cached_tokens) AS bigint) AS cached_tokens,
       CAST(sum(cache_write_tokens) AS bigint) AS cache_write_tokens,
       CAST(sum(output_tokens) AS bigint) AS output_tokens,
       CAST(sum(reasoning_tokens) AS bigint) AS reasoning_tokens,
       CAST(sum(cost_nanousd) AS bigint) AS cost_nanousd,
       CAST(sum(unconfirmed_nanousd) AS bigint) AS unconfirmed_nanousd
  FROM cut
 GROUP BY period, tenant, workflow, model, provider, lane, key, tag
 ORDER BY period, tenant, workflow, model, provider, lane, key, tag
 LIMIT :most
