"""Who asks and how they name their intent: what writing routes hand on to the rooms."""

from functools import lru_cache
from typing import Annotated

from fastapi import Depends, Request

from app.api.errors import IdempotencyKeyMissing
from app.audit.trail import Actor
from app.core import ids, tracing
from app.core.errors import Invalid
from app.core.ids import KeyId
from app.idempotency import records
from app.intake.admission import Asker
from app.tenants.keys import Caller


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
    """On whose behalf a job is admitted, and from where."""
    who = actor(request, caller)
    return Asker(caller.tenant, caller.key, who, who.request_id, who.address, caller.limits)


def actor(request: Request, caller: Caller) -> Actor:
    """The caller as the audit trail names it."""
    return key_actor(request, caller.key)


def key_actor(request: Request, key: KeyId) -> Actor:
    """A key as the audit trail names it, whatever it is good for."""
    address = None if request.client is None else request.client.host
    return Actor("key", _wire(key), request.state.request_id, address)


@lru_cache(maxsize=1_000)
def _wire(key: KeyId) -> str:
    return ids.wire("key", key)


def traceparent(request: Request) -> str | None:
    """The caller's trace, where it sent a valid one; another is ignored, as the standard asks."""
    return tracing.valid(request.headers.get("traceparent", "").strip())
