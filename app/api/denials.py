"""Denied requests, told to the trail of whose key it was: without the scope, revoked, expired, suspended."""

from typing import Final

import structlog
from fastapi import Request

from app.api import asking
from app.audit import denials
from app.bootstrap.platform import ApiPlatform
from app.core.errors import TowpathError, Unavailable
from app.core.ids import KeyId, TenantId
from app.tenants.errors import Forbidden, KeyRefused
from app.tenants.keys import Caller

_LOG: Final = structlog.get_logger(__name__)


async def tell(request: Request, error: TowpathError) -> None:
    """Note this refusal where it is one of rights. Without a database it goes to the log alone."""
    found = _whose(request, error)
    if found is None:
        return  # not of rights, or of nobody's key: those are counted at the door
    platform: ApiPlatform = request.state.platform
    (tenant, key), path = found, request.url.path
    route = getattr(request.scope.get("route"), "path_format", path)
    facts = {"code": error.code} | {
        name: error.context[name] for name in ("scope",) if name in error.context
    }
    try:
        await denials.note(
            platform.db, platform.denials, tenant, actor=asking.key_actor(request, key),
            action=f"{request.method} {route}", target=path, facts=facts,
        )  # fmt: skip
    except Unavailable:
        _LOG.warning("denial not audited", request_id=request.state.request_id, code=error.code)


def _whose(request: Request, error: TowpathError) -> tuple[TenantId, KeyId] | None:
    if isinstance(error, Forbidden):
        caller: Caller = request.state.caller
        return caller.tenant, caller.key
    if isinstance(error, KeyRefused) and error.tenant is not None and error.key is not None:
        return error.tenant, error.key
    return None
