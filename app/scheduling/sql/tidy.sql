-- Tidy: forget what no one asks for any more: old buckets, workers long gone, keys past their time.
-- Takes   batch int
-- Gives   nothing
-- Locks   the rows it deletes; SKIP LOCKED where others write
-- Index   worker_heard, idempotency_record_expiring
WITH buckets AS (
    DELETE FROM released WHERE minute < app_now() - interval '1 hour'
),
gone AS (
    DELETE FROM worker WHERE id IN (
        SELECT id FROM worker WHERE seen_at < app_now() - interval '1 hour' FOR UPDATE SKIP LOCKED)
)
DELETE FROM idempotency_record
 WHERE (tenant, route, key) IN (
       SELECT tenant, route, key FROM idempotency_record
        WHERE expires_at < app_now() - interval '1 minute'
        ORDER BY expires_at LIMIT :batch FOR UPDATE SKIP LOCKED)
