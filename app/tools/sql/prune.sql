-- Prune: forget the calls of steps that are recorded: no resumed job will ask for them.
-- Takes   jobs uuid[] · steps text[] · items bigint[] of equal length
-- Gives   nothing
-- Locks   the calls that go
-- Races   a late outcome of a lost attempt: it finds nothing
-- Index   tool_call_of_job
DELETE FROM tool_call c
 USING unnest(CAST(:jobs AS uuid[]), CAST(:steps AS text[]), CAST(:items AS bigint[])) AS t (job, step, item)
 WHERE c.job = t.job AND c.step = t.step AND c.item = t.item
