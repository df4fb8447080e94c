"""`http.get` and `http.request`: requests to public addresses, each name resolved once and checked.

Host, path and query are arguments of their own, so that a grant can name the hosts it allows: of a
whole URL, what its host is would be a question of how it is read.
"""

import json
from datetime import timedelta
from functools import partial
from typing import Any, Final

from yarl import URL

from app.core import http
from app.core.http import Fetched, FetchFailed, Sender
from app.tools.errors import ToolCrashed, ToolFailed, ToolOutputTooLarge
from app.tools.tool import OUTPUT_BYTES, Call, Tool

TIMEOUT: Final = timedelta(seconds=30)
REDIRECTS: Final = 5
BODY_BYTES: Final = OUTPUT_BYTES // 2  # as JSON a text may grow: quotes and line ends are escaped
BUSY: Final = frozenset({429, 502, 503, 504})
SHOWN: Final = ("content-type", "etag", "last-modified", "location", "retry-after")

# What belongs to the connection, or would make this process speak for somebody else.
_FORBIDDEN: Final = (
    "(?i)^(?!(host|connection|content-length|transfer-encoding|upgrade|te|trailer|expect|cookie"
    "|proxy-.*|accept-encoding|idempotency-key)$)[a-z0-9-]{1,100}$"
)
_WHERE: Final[dict[str, Any]] = {
    "scheme": {"enum": ["https", "http"], "default": "https"},
    "host": {
        "type": "string", "maxLength": 260,
        "pattern": r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])(:[0-9]{1,5})?$",
    },
    "path": {"type": "string", "pattern": "^/", "maxLength": 1_500},
    "query": {
        "type": "object", "maxProperties": 50,
        "additionalProperties": {"type": ["string", "integer", "boolean"]},
    },
    "headers": {
        "type": "object", "maxProperties": 30, "propertyNames": {"pattern": _FORBIDDEN},
        "additionalProperties": {"type": "string", "maxLength": 2_000, "pattern": "^[ -~]*$"},
    },
}  # fmt: skip
_ANSWER: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "status": {"type": "integer"}, "headers": {"type": "object"}, "text": {"type": ["string", "null"]},
    },
    "required": ["status", "headers", "text", "json"],
}  # fmt: skip


def tools(sender: Sender) -> list[Tool]:
    """Both, over this sender."""
    return [
        Tool(
            name="http.get", version="1", effect="idempotent", timeout=TIMEOUT, run=partial(_get, sender),
            description="GET from a public address. Status, some headers, and the body as JSON or text.",
            input=_input({}, ["host"]), output=_ANSWER,
        ),
        Tool(
            name="http.request", version="1", effect="unsafe", timeout=TIMEOUT, run=partial(_request, sender),
            description="A request that may change something at a public address, with a JSON body.",
            input=_input(
                {"method": {"enum": ["POST", "PUT", "PATCH", "DELETE"]}, "json": {}}, ["host", "method"]
            ),
            output=_ANSWER,
        ),
    ]  # fmt: skip


def _input(more: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {
        "type": "object", "properties": _WHERE | more, "required": required, "additionalProperties": False,
    }  # fmt: skip


async def _get(sender: Sender, call: Call) -> dict[str, Any]:
    """A busy server is a fault that may pass; every other status is an answer."""
    got = await _fetch(sender, call, "http.get", "GET", None, {}, REDIRECTS)
    if got.status in BUSY:
        raise ToolFailed(f"the server answered {got.status}", tool="http.get", retryable=True)
    return _answer("http.get", got)


async def _request(sender: Sender, call: Call) -> dict[str, Any]:
    """Every status is an answer: what it did is the server's to say. It is told the effect key."""
    headers = {"Idempotency-Key": call.effect_key}
    body = None
    if "json" in call.arguments:
        body = json.dumps(call.arguments["json"]).encode()
        headers["Content-Type"] = "application/json"
    method = call.arguments["method"]
    return _answer(
        "http.request", await _fetch(sender, call, "http.request", method, body, headers, 0)
    )


async def _fetch(
    sender: Sender,
    call: Call,
    name: str,
    method: str,
    body: bytes | None,
    headers: dict[str, str],
    redirects: int,
) -> Fetched:
    given = call.arguments
    own = {"traceparent": call.traceparent} if call.traceparent is not None else {}
    try:
        url = URL.build(
            scheme=given.get("scheme", "https"), authority=given["host"], path=given.get("path", "/"),
            query={key: _spelt(value) for key, value in given.get("query", {}).items()},
        )  # fmt: skip
        return await http.fetch(
            sender, method, str(url), headers=own | given.get("headers", {}) | headers, body=body,
            most_bytes=BODY_BYTES, redirects=redirects,
        )  # fmt: skip
    except FetchFailed as failure:
        if failure.sent:
            raise ToolCrashed(f"{name}: {failure}", tool=name) from failure
        raise ToolFailed(
            f"{name}: {failure}", tool=name, retryable=not failure.refused
        ) from failure
    except ValueError:
        raise ToolFailed(f"{name}: is not a URL", tool=name) from None


def _spelt(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _answer(name: str, got: Fetched) -> dict[str, Any]:
    if got.over:
        message = f"{name}: an answer of more than {BODY_BYTES} bytes"
        raise ToolOutputTooLarge(message, tool=name, limit_bytes=BODY_BYTES)
    data, text = None, None
    try:
        if "json" not in got.headers.get("content-type", ""):
            raise ValueError("not meant as JSON")  # noqa: TRY301 - read as text, like what is not JSON
        data = json.loads(got.body)
    except (ValueError, RecursionError):
        text = got.body.decode("utf-8", "replace").replace("\0", "\ufffd")
    headers = {name: value for name, value in got.headers.items() if name in SHOWN}
    return {"status": got.status, "headers": headers, "json": data, "text": text}
