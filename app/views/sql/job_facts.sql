-- Job facts: how the recorded steps of jobs came about, each combination once with its count.
-- Takes   jobs uuid[]
-- Gives   (job, prompt, provider, model, route, cache, collection, corpus_version, tool, tool_version, steps, tool_calls)
-- Locks   nothing
-- Races   nothing: a step a moment later is in the next answer
-- Index   step_of_job
SELECT job, facts->>'prompt' AS prompt, facts->>'provider' AS provider, facts->>'model' AS model,
       facts->>'route' AS route, facts->>'cache' AS cache, facts->>'collection' AS collection,
       CAST(facts->>'corpus_version' AS bigint) AS corpus_version,
       facts->>'tool' AS tool, facts->>'tool_version' AS tool_version, count(*) AS steps,
       CAST(coalesce(sum(CAST(facts->>'tool_calls' AS bigint)), 0) AS bigint) AS tool_calls
  FROM step WHERE job = ANY (:jobs) AND state = 'succeeded' AND facts <> '{}'
 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
