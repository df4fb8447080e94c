-- Claim: this request's name stands for its object, or for the one that an earlier request made.
-- Takes   tenant uuid · route, key text · fingerprint bytea · object uuid · kept interval
-- Gives   (fingerprint, object) that the name now stands for: those given where it was free or expired
-- Locks   the record by idempotency_record_pkey, to the end of the caller's transaction
-- Races   the same name elsewhere: the second waits, then finds the first's object, or takes its place
--         where the first rolled back. DO UPDATE, since DO NOTHING can't return a row that was
--         committed after this statement's snapshot
INSERT INTO idempotency_record AS record
    (tenant, route, key, fingerprint, object, created_at, expires_at)
VALUES (:tenant, :route, :key, :fingerprint, :object, app_now(), app_now() + CAST(:kept AS interval))
ON CONFLICT (tenant, route, key) DO UPDATE SET (fingerprint, object, created_at, expires_at) = (
    SELECT fresh.fingerprint, fresh.object, fresh.created_at, fresh.expires_at
    FROM (VALUES (excluded.fingerprint, excluded.object, excluded.created_at, excluded.expires_at))
        AS fresh (fingerprint, object, created_at, expires_at)
    WHERE record.expires_at <= app_now()
    UNION ALL
    SELECT record.fingerprint, record.object, record.created_at, record.expires_at
    WHERE record.expires_at > app_now()
)
RETURNING fingerprint, object
