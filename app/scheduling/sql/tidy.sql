-- Tidy: forget what no one asks for any more: fairness's old buckets, workers long gone.
-- Takes   nothing
-- Gives   nothing
-- Locks   the rows it deletes
-- Races   a beat of a worker that was thought gone enters it again
-- Index   worker_heard
WITH buckets AS (
    DELETE FROM released WHERE minute < app_now() - interval '1 hour'
)
DELETE FROM worker WHERE seen_at < app_now() - interval '1 hour'
