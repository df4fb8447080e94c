"""Problem details (RFC 9457): the one place that knows which HTTP status a code of ours has."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from app.api import denials, limits, strict
from app.api.errors import BadRequest, MethodNotAllowed, UnsupportedMediaType
from app.core.errors import Invalid, NotFound, TowpathError
from app.ratelimit.errors import RateLimited

MEDIA_TYPE: Final = "application/problem+json"

STATUS: Final = {
    # refused before anything is looked at
    "bad_request": 400,
    "invalid_json": 400,
    "idempotency_key_missing": 400,
    "unauthenticated": 401,
    "budget_exhausted": 402,
    "forbidden": 403,
    "tenant_suspended": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "payload_too_large": 413,
    "unsupported_media_type": 415,
    # well formed, but it can't be
    "validation_failed": 422,
    "unknown_workflow": 422,
    "unpriced_model": 422,
    "idempotency_key_reused": 422,
    # too fast, or too much
    "rate_limited_requests": 429,
    "rate_limited_tokens": 429,
    "queue_full": 429,
    # not in this state
    "idempotency_in_progress": 409,
    "duplicate_job": 409,
    "job_finished": 409,
    "job_not_retryable": 409,
    "job_not_waiting": 409,
    "endpoint_disabled": 409,
    "collection_exists": 409,
    "schedule_exists": 409,
    "slug_taken": 409,
    # not now
    "overloaded": 503,
    "unavailable": 503,
    "disabled": 503,
    "draining": 503,
    "limits_unavailable": 503,
    "internal_error": 500,
    # what ends an attempt, not a request: a fault of ours where a route meets it
    "account_unknown": 500,
    "attempt_lost": 500,
    "context_too_long": 500,
    "document_empty": 500,
    "document_unreadable": 500,
    "expression_failed": 500,
    "file_lost": 500,
    "hold_unknown": 500,
    "not_leading": 500,
    "prompt_refused": 500,
    "prompt_unknown": 500,
    "provider_failed": 500,
    "secret_unreadable": 500,
    "step_failed": 500,
    "step_timeout": 500,
    "tool_arguments_invalid": 500,
    "tool_crashed": 500,
    "tool_failed": 500,
    "tool_in_doubt": 500,
    "tool_not_allowed": 500,
    "tool_output_invalid": 500,
    "tool_output_too_large": 500,
    "tool_timed_out": 500,
    "unknown_tool": 500,
}

# What RFC 9457 and we name ourselves; context of the same name moves aside.
_RESERVED: Final = frozenset({"type", "title", "status", "detail", "code", "request_id"})
_RETRY_AFTER: Final = 1  # seconds, where the refusal doesn't say


def status_of(error: TowpathError) -> int:
    """The HTTP status of a refusal."""
    return STATUS[error.code]


def body_of(error: TowpathError, request_id: str | None) -> dict[str, Any]:
    """A refusal as a problem. Context is safe to show: rooms put no secret and no customer text there."""
    body: dict[str, Any] = {
        "type": f"/problems/{error.code}",
        "title": title_of(error.code),
        "status": status_of(error),
        "detail": error.message,
        "code": error.code,
        "request_id": request_id,
    }
    for name, value in error.context.items():
        body[f"current_{name}" if name in _RESERVED else name] = value
    return body


def title_of(code: str) -> str:
    """The short, constant summary that goes with a code."""
    return code.replace("_", " ").capitalize()


def respond(error: TowpathError, request_id: str | None) -> Response:
    """A refusal as an answer."""
    status = status_of(error)
    headers = _headers(error, status)
    if isinstance(error, RateLimited):
        headers |= limits.headers(error.standings, error)
    body = json.dumps(body_of(error, request_id), default=_plain).encode()
    return Response(body, status, headers=headers, media_type=MEDIA_TYPE)


def _headers(error: TowpathError, status: int) -> dict[str, str]:
    match status:
        case 401:
            return {"WWW-Authenticate": 'Bearer realm="towpath"'}
        case 402:
            return {"x-should-retry": "false"}  # the SDKs of this field would repeat it otherwise
        case 405:
            return {"Allow": ", ".join(error.context.get("allowed", ()))}
        case 413:
            return {"Connection": "close"}  # the rest of the body is not worth reading
        case 429 | 503:
            return {"Retry-After": str(error.context.get("retry_after", _RETRY_AFTER))}
        case _:
            return {}


def _plain(value: Any) -> Any:
    match value:
        case set() | frozenset() | tuple():
            return sorted(value)
        case UUID():
            return str(value)
        case _:
            raise TypeError(f"a {type(value).__name__} in the context of a refusal")


async def refused(request: Request, error: Exception) -> Response:
    """A TowpathError that ended a request."""
    assert isinstance(error, TowpathError)  # noqa: S101 - registered for this class alone
    await denials.tell(request, error)
    return respond(error, request.state.request_id)


async def unfit(request: Request, error: Exception) -> Response:
    """What FastAPI found unfit, as validation_failed with a pointer to each fault."""
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class alone
    faults = [fault_of(one, error.body) for one in error.errors()]
    return respond(Invalid("The request doesn't fit.", errors=faults), request.state.request_id)


def fault_of(fault: Mapping[str, Any], body: Any) -> dict[str, str]:
    """A fault of pydantic's as {pointer, message}, and `in` where it isn't in the body."""
    place, *path = fault["loc"]
    if place == "body":
        path = _within(body, path, missing=fault["type"] == "missing")
    pointer = "".join(f"/{strict.escape(str(part))}" for part in path)
    found = {"pointer": pointer, "message": str(fault["msg"])[:300]}
    return found if place == "body" else found | {"in": str(place)}


def _within(body: Any, path: Sequence[int | str], *, missing: bool) -> list[int | str]:
    """The parts of a path that are in the body: pydantic names the members of a union too."""
    found: list[int | str] = []
    here = body
    for part in path:
        if _holds(here, part):
            here = here[part]
        elif not missing or part != path[-1]:
            continue
        found.append(part)
    return found


def _holds(here: Any, part: int | str) -> bool:
    if isinstance(here, dict):
        return part in here
    return isinstance(here, list) and isinstance(part, int) and part < len(here)


async def unserved(request: Request, error: Exception) -> Response:
    """What the framework refused by itself: no such path, no such method, an unreadable request."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class alone
    return respond(_translated(request, error), request.state.request_id)


def _translated(request: Request, error: HTTPException) -> TowpathError:
    match error.status_code:
        case 404:
            return NotFound("No such path.")
        case 405:
            # The framework names the methods of the first route of this path, not of all.
            known = [one for one in request.app.routes if isinstance(one, Route)]
            here = [one for one in known if one.matches(request.scope)[0] is not Match.NONE]
            allowed = {method for one in here for method in one.methods or ()}
            return MethodNotAllowed(allowed=sorted(allowed))
        case 415:
            return UnsupportedMediaType()
        case _:
            return BadRequest()
