"""The outermost layer, as plain ASGI: request ids, body limits, counts, and a problem for every fault.

Not BaseHTTPMiddleware: it costs a task and a queue a request, and cancels a handler whose client has gone.
"""

import asyncio
import contextlib
import time
from typing import Any, Final

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.api import problems
from app.api.errors import BadRequest, PayloadTooLarge, UnsupportedMediaType
from app.api.metrics import Metrics
from app.core import ids
from app.core.errors import TowpathError

_LOG: Final = structlog.get_logger(__name__)
_ALWAYS: Final = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"private, no-cache")]
_TOO_LARGE: Final = 413
_LINGER_SECONDS: Final = 3.0
_LINGER_BYTES: Final = 32 * 1024 * 1024
_GONE: Final = 499  # for the counts alone: nobody is there to read it


class Edge:
    """Wraps the application. `body_bytes` is the limit of a body, which a route may raise for itself."""

    def __init__(self, app: ASGIApp, *, body_bytes: int, metrics: Metrics) -> None:
        self._app = app
        self._body_bytes = body_bytes
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, whatever comes of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = ids.wire("req", ids.new())
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["body_bytes"] = self._body_bytes
        started = time.perf_counter()
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"], *_ALWAYS, *state.get("headers", ()), (b"x-request-id", request_id.encode())
                ]  # fmt: skip
            elif status == _TOO_LARGE and not message.get("more_body", False):
                # The answer is whole, but the connection is closed only when the client has fallen
                # silent: closed on a client that still sends, it would be reset, and the answer lost.
                await send({**message, "more_body": True})
                await _let_out(receive)
                message = {"type": "http.response.body"}
            await send(message)

        try:
            await self._app(scope, _limited(scope, receive), answer)
        except ClientDisconnect:
            status = _GONE
        except Exception as error:  # noqa: BLE001 - the outermost loop of a request
            if not isinstance(error, TowpathError):
                _LOG.exception("request failed", request_id=request_id, path=scope["path"])
                error = TowpathError("Something went wrong here. It has been logged.")
            if status == 0:
                await problems.respond(error, request_id)(scope, receive, answer)
        finally:
            self._metrics.served(
                _route(scope), scope["method"], status, time.perf_counter() - started
            )


async def _let_out(receive: Receive) -> None:
    """Take the rest of a body and throw it away, within bounds."""
    taken = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LINGER_SECONDS):
            while taken < _LINGER_BYTES:
                message = await receive()
                taken += len(message.get("body", b""))
                if not message.get("more_body", False):
                    return


def _limited(scope: Scope, receive: Receive) -> Receive:
    """`receive` that refuses a body once it is too large: by its declared length, or while it comes."""
    state: dict[str, Any] = scope["state"]
    declared, counted = 0, 0
    if "\0" in scope["path"] or b"%00" in scope["query_string"]:
        # Postgres has no text that holds one.
        raise BadRequest("There is a NUL in the address.")
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            declared = int(value)
        elif name == b"content-encoding" and value.strip().lower() not in (b"", b"identity"):
            # A small compressed body may hold a gigabyte: none is inflated.
            raise UnsupportedMediaType("A compressed body isn't read; send it as it is.")

    async def limited() -> Message:
        nonlocal counted
        if declared > state["body_bytes"]:
            raise _too_large(state)
        message = await receive()
        if message["type"] == "http.request":
            counted += len(message.get("body", b""))
            if counted > state["body_bytes"]:
                raise _too_large(state)
        return message

    return limited


def _too_large(state: dict[str, Any]) -> PayloadTooLarge:
    limit = state["body_bytes"]
    return PayloadTooLarge(f"The body is larger than {limit} bytes.", limit_bytes=limit)


def _route(scope: Scope) -> str:
    # The template, never the path: ids in a label would make a series a job.
    route = scope.get("route")
    return getattr(route, "path_format", "unmatched")
