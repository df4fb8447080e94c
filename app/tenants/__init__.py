"""Who asks and pays: tenants, and the API keys that stand for them.

directory  create, find and list tenants; suspend, resume, change caps; each change audited
keys       issue, revoke and list API keys; identify: a key becomes a Caller
errors     Unauthenticated, Forbidden, TenantSuspended

Owns tenant, api_key. Money is not here: bootstrap opens a tenant's account beside it.
"""
