-- Prune: forget the replies of steps that are recorded: no resumed job will ask for them.
-- Takes   jobs uuid[] · prefixes text[] of equal length: job:step:item: of each
-- Gives   nothing
-- Locks   the effects that go
-- Races   a settlement of the same step by a lost attempt: what it leaves goes with the job
-- Index   effect_of_job
DELETE FROM effect e
 USING unnest(CAST(:jobs AS uuid[]), CAST(:prefixes AS text[])) AS t (job, prefix)
 WHERE e.job = t.job AND starts_with(e.key, t.prefix)
