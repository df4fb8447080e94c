"""Refusals about who asks."""

from app.core.errors import TowpathError
from app.core.ids import KeyId, TenantId


class KeyRefused(TowpathError):
    """A key that is good for nothing. `tenant` and `key`: whose it is or was, for the trail; never shown."""

    def __init__(
        self, message: str = "", *, tenant: TenantId | None = None, key: KeyId | None = None
    ) -> None:
        super().__init__(message)
        self.tenant = tenant
        self.key = key


class Unauthenticated(KeyRefused):
    """No valid API key. The same for one that is missing, malformed, unknown, expired or revoked."""

    code = "unauthenticated"


class Forbidden(TowpathError):
    """The API key lacks a scope that this needs. Context: scope."""

    code = "forbidden"


class TenantSuspended(KeyRefused):
    """The tenant is suspended; an operator can say why."""

    code = "tenant_suspended"
