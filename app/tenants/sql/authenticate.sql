-- Authenticate: the callers that keys stand for.
-- Takes   digests bytea[]: SHA-256 of each key
-- Gives   (digest, tenant, key, scopes, tenant_state, requires_idempotency, expires_at, plan_limits, limits,
--         good) of each key there ever was; not good: expired or revoked, which a client can't tell from unknown
-- Locks   nothing
-- Index   api_key_digest_key, tenant_pkey, plan_pkey
SELECT
    api_key.digest, api_key.tenant, api_key.id AS key, api_key.scopes,
    tenant.state AS tenant_state, tenant.requires_idempotency, api_key.expires_at,
    plan.limits AS plan_limits, tenant.limits,
    api_key.revoked_at IS NULL
    AND (api_key.expires_at IS NULL OR api_key.expires_at > app_now()) AS good
FROM api_key JOIN tenant ON tenant.id = api_key.tenant
    LEFT JOIN plan ON plan.name = tenant.plan
WHERE api_key.digest = ANY (CAST(:digests AS bytea[]))
