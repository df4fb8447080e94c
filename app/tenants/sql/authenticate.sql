-- Authenticate: the caller that a key stands for, while the key is good.
-- Takes   digest bytea: SHA-256 of the key
-- Gives   (tenant, key, scopes, tenant_state, requires_idempotency, expires_at), or no row: unknown,
--         expired and revoked look alike
-- Locks   nothing
-- Index   api_key_digest_key, tenant_pkey
SELECT
    api_key.tenant, api_key.id AS key, api_key.scopes, tenant.state AS tenant_state,
    tenant.requires_idempotency, api_key.expires_at
FROM api_key JOIN tenant ON tenant.id = api_key.tenant
WHERE api_key.digest = :digest
    AND api_key.revoked_at IS NULL
    AND (api_key.expires_at IS NULL OR api_key.expires_at > app_now())
