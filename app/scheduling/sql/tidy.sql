-- Tidy: forget what no one asks for any more: what was released long ago, workers long gone with their pauses.
-- Takes   nothing
-- Gives   nothing
-- Locks   the rows it deletes
-- Races   a beat of a worker that was thought gone enters it again; a release enters its tenant again
-- Index   worker_heard
WITH forgotten AS (
    DELETE FROM served WHERE at < app_now() - interval '1 hour'
),
buckets AS (
    DELETE FROM released WHERE minute < app_now() - interval '1 hour'
),
gone AS (
    DELETE FROM worker WHERE seen_at < app_now() - interval '1 hour'
    RETURNING CAST(id AS text) AS name
)
DELETE FROM pause WHERE kind = 'worker' AND name IN (SELECT name FROM gone)
