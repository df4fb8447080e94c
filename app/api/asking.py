"""Who asks and how they name their intent: what writing routes hand on to the rooms."""

import re
from typing import Annotated, Final

from fastapi import Depends, Request

from app.api.errors import IdempotencyKeyMissing
from app.audit.trail import Actor
from app.core import ids
from app.core.errors import Invalid
from app.idempotency import records
from app.intake.admission import Asker
from app.tenants.keys import Caller

# Source: W3C Trace Context, section 3.2. Version ff is forbidden, ids of zeros are invalid.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


async def idempotency_key(request: Request) -> str | None:
    """The client's name for this intent. Raises Invalid, or IdempotencyKeyMissing where the tenant requires it."""
    header = request.headers.get("idempotency-key")
    if header is not None:
        try:
            return records.parse_key(header)
        except Invalid as error:
            fault = {"pointer": "/idempotency-key", "message": error.message, "in": "header"}
            raise Invalid(error.message, errors=[fault]) from error
    caller: Caller = request.state.caller
    if caller.requires_idempotency:
        raise IdempotencyKeyMissing("Send an Idempotency-Key: your name for this intent.")
    return None


IdempotencyKey = Annotated[str | None, Depends(idempotency_key)]


def asker(request: Request, caller: Caller) -> Asker:
    """On whose behalf, and from where."""
    address = None if request.client is None else request.client.host
    return Asker(caller.tenant, caller.key, actor(caller), request.state.request_id, address)


def actor(caller: Caller) -> Actor:
    """The caller as the audit trail names it."""
    return Actor("key", ids.wire("key", caller.key))


def traceparent(request: Request) -> str | None:
    """The caller's trace, where it sent a valid one; another is ignored, as the standard asks."""
    header = request.headers.get("traceparent", "").strip()
    return header if _TRACEPARENT.fullmatch(header) else None
