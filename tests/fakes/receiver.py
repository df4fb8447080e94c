"""A receiver of webhooks: a real server on loopback that answers as told and keeps what it got."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. `silent`: take the request and never answer it."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Got:
    """One request, as it came."""

    path: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Receiver:
    """Answers with `replies` in their order, then with `otherwise`."""

    port: int = 0
    host: str = "127.0.0.1"
    got: list[Got] = field(default_factory=list)
    replies: list[Reply] = field(default_factory=list)
    otherwise: Reply = field(default_factory=Reply)
    open_requests: int = 0
    most_open: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/hook"

    @property
    def allowed(self) -> frozenset[str]:
        """What the operator's list must hold for this receiver to be reached."""
        return frozenset({f"{self.host}:{self.port}"})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.open_requests += 1
        self.most_open = max(self.most_open, self.open_requests)
        try:
            body = await request.read()
            headers = {name.lower(): value for name, value in request.headers.items()}
            self.got.append(Got(request.path_qs, headers, body))
            reply = self.replies.pop(0) if self.replies else self.otherwise
            if reply.silent:
                await self.released.wait()
            return web.Response(status=reply.status, headers=reply.headers, body=reply.body)
        finally:
            self.open_requests -= 1


@contextlib.asynccontextmanager
async def receiving(host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Receiver]:
    """A receiver on a free port, or on one of another address."""
    receiver = Receiver(host=host)
    app = web.Application(client_max_size=1 << 20)
    app.router.add_route("*", "/{path:.*}", receiver.answer)
    # A sender that gives up ends its request here too: `open_requests` is what really is open.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, host, port)
    await site.start()
    receiver.port = runner.addresses[0][1]
    try:
        yield receiver
    finally:
        receiver.released.set()
        await runner.cleanup()
