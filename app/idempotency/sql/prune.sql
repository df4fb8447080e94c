-- Prune: records whose time is over, the oldest first.
-- Takes   limit
-- Gives   a row for each one that went
-- Locks   the records; skips those that a claim holds
-- Races   claim: whoever is first; both ways the name is free for what comes next
-- Index   idempotency_record_expiring
DELETE FROM idempotency_record
WHERE (tenant, route, key) IN (
    SELECT tenant, route, key FROM idempotency_record
    WHERE expires_at <= app_now() ORDER BY expires_at LIMIT :limit FOR UPDATE SKIP LOCKED
)
RETURNING 1
