"""A model provider that speaks OpenAI's chat completions: deterministic, and as ill as it is told to be.

In a test: `async with provider.serving() as fake`, then `fake.script.append(Answer(status=429))`.
As a process: `python -m tests.fakes.provider --port 8123 --seconds 1`; it is then told over HTTP:
`POST /fake/script` and `/fake/otherwise` take answers as JSON, `POST /fake/release` lets held calls go,
`GET /fake/calls` counts what was asked, by the Idempotency-Key of each call.
"""

import argparse
import asyncio
import contextlib
import json
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import uvloop
from aiohttp import web

MODEL = "fake-1"
COUNTED: Mapping[str, Any] = {"counted": "the words"}


TOO_LONG: Mapping[str, Any] = {
    "error": {
        "code": 400,
        "type": "exceed_context_size_error",
        "message": "request exceeds the context size",
    }
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `body` replaces the completion: data is sent as JSON, text and bytes as they are.

    `cut`: the connection is reset after so many bytes of the body. `held`: it waits for a release.
    """

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    text: str | None = None
    usage: Mapping[str, Any] | None = field(default_factory=lambda: COUNTED)
    cut: int | None = None
    held: bool = False
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One call, as it came."""

    key: str
    headers: dict[str, str]
    query: dict[str, str]
    body: dict[str, Any]


@dataclass(slots=True)
class Provider:
    """Answers with `script` in its order, then with `otherwise`."""

    port: int = 0
    window_words: int = 100_000
    asked: list[Asked] = field(default_factory=list)
    script: list[Answer] = field(default_factory=list)
    otherwise: Answer = field(default_factory=Answer)
    open_calls: int = 0
    most_open: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def calls(self) -> Counter[str]:
        """How often each key was asked for."""
        return Counter(one.key for one in self.asked)

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self.open_calls += 1
        self.most_open = max(self.most_open, self.open_calls)
        try:
            headers = {name.lower(): value for name, value in request.headers.items()}
            body = await request.json()
            key = headers.get("idempotency-key", "")
            self.asked.append(Asked(key, headers, dict(request.query), body))
            if spoken_in(body) > self.window_words:
                return web.json_response(TOO_LONG, status=400)
            answer = self.script.pop(0) if self.script else self.otherwise
            if answer.held:
                await self.released.wait()
            if answer.seconds:
                await asyncio.sleep(answer.seconds)
            payload, kind = rendered(answer, body)
            if answer.cut is not None:
                return await _cut(request, answer, payload, kind)
            return web.Response(
                status=answer.status, headers=answer.headers, body=payload, content_type=kind
            )
        finally:
            self.open_calls -= 1

    async def take_script(self, request: web.Request) -> web.Response:
        self.script.extend(Answer(**one) for one in await request.json())
        return web.json_response({"waiting": len(self.script)})

    async def take_otherwise(self, request: web.Request) -> web.Response:
        self.otherwise = Answer(**await request.json())
        return web.json_response({})

    async def release(self, _request: web.Request) -> web.Response:
        self.released.set()
        self.released = asyncio.Event()
        return web.json_response({})

    async def count(self, _request: web.Request) -> web.Response:
        counted = {"total": len(self.asked), "open": self.open_calls, "most_open": self.most_open}
        return web.json_response(counted | {"by_key": dict(self.calls)})


def rendered(answer: Answer, asked: dict[str, Any]) -> tuple[bytes, str]:
    """The bytes of an answer and their media type."""
    match answer.body:
        case None:
            return json.dumps(
                completion(asked, answer.text, answer.usage)
            ).encode(), "application/json"
        case bytes() as raw:
            return raw, "application/octet-stream"
        case str() as page:
            return page.encode(), "text/html"
        case data:
            return json.dumps(data).encode(), "application/json"


def completion(
    asked: dict[str, Any],
    text: str | None = None,
    usage: Mapping[str, Any] | None = COUNTED,
) -> dict[str, Any]:
    """A good answer: the end of the last message again, at most `max_tokens` words of it."""
    limit = asked.get("max_tokens") or asked.get("max_completion_tokens") or 16
    words = asked["messages"][-1]["content"].split()
    said = " ".join(words[-limit:]) if text is None else text
    if usage is COUNTED:
        prompt = spoken_in(asked)
        spoken = len(said.split())
        usage = {
            "prompt_tokens": prompt, "completion_tokens": spoken, "total_tokens": prompt + spoken,
        }  # fmt: skip
    finish = "length" if text is None and len(words) > limit else "stop"
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": said},
    }
    whole = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": asked["model"],
        "choices": [choice],
    }
    return whole if usage is None else whole | {"usage": usage}


def spoken_in(asked: dict[str, Any]) -> int:
    """How many words its messages have."""
    return sum(len(one["content"].split()) for one in asked["messages"])


async def _cut(
    request: web.Request, answer: Answer, payload: bytes, kind: str
) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.content_type = kind
    response.content_length = len(payload)
    transport = request.transport
    assert transport is not None
    if answer.cut:
        await response.prepare(request)
        await response.write(payload[: answer.cut])
    wire: socket.socket = transport.get_extra_info("socket")
    wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()  # with the linger above: a reset, no orderly end
    return response


def application(fake: Provider) -> web.Application:
    app = web.Application(client_max_size=16 << 20)
    app.router.add_post("/v1/chat/completions", fake.complete)
    app.router.add_post("/fake/script", fake.take_script)
    app.router.add_post("/fake/otherwise", fake.take_otherwise)
    app.router.add_post("/fake/release", fake.release)
    app.router.add_get("/fake/calls", fake.count)
    return app


@contextlib.asynccontextmanager
async def serving(port: int = 0, otherwise: Answer | None = None) -> AsyncIterator[Provider]:
    """A provider on a free port of loopback."""
    fake = Provider(otherwise=otherwise or Answer())
    # A client that hangs up ends its call here too: `open_calls` is what really is open.
    runner = web.AppRunner(
        application(fake), access_log=None, handler_cancellation=True, shutdown_timeout=0.1
    )
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, backlog=2048)
    await site.start()
    fake.port = runner.addresses[0][1]
    try:
        yield fake
    finally:
        fake.released.set()
        await runner.cleanup()


async def _serve(port: int, seconds: float) -> None:
    async with serving(port, Answer(seconds=seconds)) as fake:
        print(fake.base_url, flush=True)  # noqa: T201 - a parent reads where it listens
        await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.provider")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0, help="how long each answer takes")
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(_serve(given.port, given.seconds))


if __name__ == "__main__":
    main()
