"""Refusals about who asks."""

from app.core.errors import TowpathError


class Unauthenticated(TowpathError):
    """No valid API key. The same for one that is missing, malformed, unknown, expired or revoked."""

    code = "unauthenticated"


class Forbidden(TowpathError):
    """The API key lacks a scope that this needs. Context: scope."""

    code = "forbidden"


class TenantSuspended(TowpathError):
    """The tenant is suspended; an operator can say why."""

    code = "tenant_suspended"
