-- Job facts: how the recorded steps of jobs came about, each combination once with its count.
-- Takes   jobs uuid[]
-- Gives   (job, prompt, provider, model, route, cache, collection, corpus_version, steps)
-- Locks   nothing
-- Races   nothing: a step a moment later is in the next answer
-- Index   step_of_job
SELECT job, facts->>'prompt' AS prompt, facts->>'provider' AS provider, facts->>'model' AS model,
       facts->>'route' AS route, facts->>'cache' AS cache, facts->>'collection' AS collection,
       CAST(facts->>'corpus_version' AS bigint) AS corpus_version, count(*) AS steps
  FROM step WHERE job = ANY (:jobs) AND state = 'succeeded' AND facts <> '{}'
 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8
