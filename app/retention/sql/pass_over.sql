-- Pass over: keep in mind jobs whose time hasn't come, and forget those that are done with.
-- Takes   kind text · later uuid[] · done uuid[]
-- Gives   nothing
-- Locks   purge_later
-- Races   another purge of the kind: it keeps the same in mind
-- Index   purge_later_pkey
WITH done AS (
    DELETE FROM purge_later WHERE kind = :kind AND job = ANY (CAST(:done AS uuid[]))
)
INSERT INTO purge_later (kind, job)
SELECT :kind, job FROM unnest(CAST(:later AS uuid[])) AS passed (job)
 ORDER BY job ON CONFLICT DO NOTHING
