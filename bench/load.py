"""A raw HTTP/1.1 load generator on uvloop: keep-alive connections, one request in flight on each."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

import uvloop
from typing_extensions import override

Request = Callable[[int], bytes]  # the number of a request → its bytes


@dataclass(slots=True)
class Tally:
    """What a run saw: answers by status, and how long each took in seconds."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    wall_seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """Answers a second."""
        return sum(self.statuses.values()) / self.wall_seconds

    def percentile_ms(self, share: float) -> float:
        """The latency that this share of the answers kept within."""
        ordered = sorted(self.seconds)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class _Client(asyncio.Protocol):
    def __init__(self, request: Request, numbers: list[int], tally: Tally, end: float) -> None:
        self._request, self._numbers, self._tally, self._end = request, numbers, tally, end
        self._buffer = b""
        self._sent = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def _next(self) -> None:
        now = time.perf_counter()
        if now >= self._end:
            self._transport.close()
            if not self.done.done():
                self.done.set_result(None)
            return
        self._numbers[0] += 1
        self._sent = now
        self._transport.write(self._request(self._numbers[0]))

    @override
    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, split, body = self._buffer.partition(b"\r\n\r\n")
        if not split:
            return
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        if len(body) < length:
            return
        self._tally.statuses[int(head[9:12])] += 1
        self._tally.seconds.append(time.perf_counter() - self._sent)
        self._buffer = body[length:]
        self._next()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the server hung up"))


async def _run(port: int, request: Request, clients: int, seconds: float, first: int) -> Tally:
    loop, tally, numbers = asyncio.get_running_loop(), Tally(), [first]
    start = time.perf_counter()
    connected = [
        await loop.create_connection(
            lambda: _Client(request, numbers, tally, start + seconds), "127.0.0.1", port
        )
        for _ in range(clients)
    ]
    await asyncio.gather(*[client.done for _, client in connected])
    tally.wall_seconds = time.perf_counter() - start
    return tally


def blast(port: int, request: Request, *, clients: int, seconds: float, first: int = 0) -> Tally:
    """Keep `clients` requests in flight for so many seconds. Numbers go up from `first`."""
    return uvloop.run(_run(port, request, clients, seconds, first))


def post(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """The bytes of a POST."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body
