"""Who asks and pays: tenants, and the API keys that stand for them.

directory  create, find and list tenants; suspend, resume, change caps; each change audited
limits     rates and ceilings as data: a plan's, and a tenant's own in place of them
plans      limits that tenants share; set_limits and set_own_limits, audited
keys       issue, revoke and list API keys; identify: a key becomes a Caller
refusals   Refusals: refused credentials, told to the trail in sums
errors     Unauthenticated, Forbidden, TenantSuspended

Owns tenant, plan, api_key. Money is not here: bootstrap opens a tenant's account beside it.
"""
