-- Job usage: what jobs have used and cost so far, over all tries; corrections are lines of their own.
-- Takes   jobs uuid[]
-- Gives   (job, calls, input_tokens, cached_tokens, output_tokens, reasoning_tokens, cost_nanousd), or no
--         row for a job without a line
-- Locks   nothing
-- Races   nothing: a settlement a moment later is in the next answer
-- Index   usage_line_of_job
SELECT job, count(*) FILTER (WHERE kind = 'charge') AS calls,
       CAST(sum(input_tokens) AS bigint) AS input_tokens, CAST(sum(cached_tokens) AS bigint) AS cached_tokens,
       CAST(sum(output_tokens) AS bigint) AS output_tokens,
       CAST(sum(reasoning_tokens) AS bigint) AS reasoning_tokens,
       CAST(sum(cost_nanousd) AS bigint) AS cost_nanousd
  FROM usage_line WHERE job = ANY (:jobs)
 GROUP BY job
