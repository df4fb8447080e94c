"""The shared buckets: takes that arrive together are one call to Valkey; without it each process counts by itself."""

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import structlog
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from app.ratelimit import buckets
from app.ratelimit.buckets import Draw, Local, Verdict
from app.ratelimit.config import RatelimitConfig
from app.ratelimit.errors import LimitsUnavailable

LIMIT: Final = 256  # takes in one call: a call of more would hold the server for others

_LOG: Final = structlog.get_logger(__name__)
_SCRIPT: Final = (Path(__file__).parent / "take.lua").read_text(encoding="utf-8")
_US: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Ticket:
    """Who keeps a place where: the line, the client's name for the request, and whether it means one alone."""

    line: str
    name: str
    only: bool


class Limiter:
    """The buckets as one process reaches them. `url` None: there are no shared ones."""

    def __init__(
        self,
        url: str | None,
        config: RatelimitConfig,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._pool = None if url is None else _pool(url)
        self._clock = clock
        self._local = Local()
        self._waiting: list[tuple[dict[str, Any], asyncio.Future[Any] | None]] = []
        self._drainer: asyncio.Task[None] | None = None
        self._connection: AbstractConnection | None = None
        self._sha = ""
        self._lost_until = 0.0
        self._losses = 0

    @property
    def lost(self) -> bool:
        """Whether the shared buckets were out of reach when they were last tried."""
        return self._lost_until > 0

    @property
    def losses(self) -> int:
        """How many requests this process has counted by itself because of that."""
        return self._losses

    async def take(self, draws: Sequence[Draw], ticket: Ticket | None = None) -> Verdict:
        """Draw from all of these buckets, or from none; where refused, a place is kept under the ticket.

        Raises LimitsUnavailable where the shared buckets are lost and one of these isn't held without.
        """
        item: dict[str, Any] = {"b": _wire(draws)}
        if ticket is not None:
            item |= {"p": ticket.line, "t": ticket.name}
            if ticket.only:
                item["o"] = 1
        return await self._ask(draws, item)

    async def look(self, draws: Sequence[Draw]) -> Verdict:
        """Whether these would be allowed, and what is left in each bucket."""
        return await self._ask(draws, {"b": _wire(draws), "l": 1})

    def refund(self, draws: Sequence[Draw]) -> None:
        """Give back what was drawn and not needed, with the next call; below zero it is drawn after the fact."""
        if not self._reachable():
            self._local.refund(draws, self._clock())
        elif draws:
            back = [[draw.key, draw.per_minute / 60 / _US, draw.cost] for draw in draws]
            self._submit({"r": back}, None)

    async def close(self) -> None:
        """Wait for what is in flight, then give the connection back."""
        while self._drainer is not None:
            await asyncio.wait([self._drainer])
        await self._disconnect()

    async def _ask(self, draws: Sequence[Draw], item: dict[str, Any]) -> Verdict:
        if self._reachable():
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            self._submit(item, future)
            answer = await future
            if answer is not None:
                return _verdict(draws, *answer)
        self._losses += 1
        unheld = next((draw for draw in draws if draw.when_lost == "refuse"), None)
        if unheld is not None:
            raise LimitsUnavailable(
                f"The limit {unheld.name} can't be looked at.", limit=unheld.name, retry_after=1
            )
        return self._local.take(draws, self._clock(), look="l" in item)

    def _reachable(self) -> bool:
        return self._pool is not None and self._clock() >= self._lost_until

    def _submit(self, item: dict[str, Any], future: asyncio.Future[Any] | None) -> None:
        self._waiting.append((item, future))
        if self._drainer is None:
            self._drainer = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:LIMIT], self._waiting[LIMIT:]
                answers = await self._call([item for item, _ in batch])
                if answers is None:  # who came meanwhile needn't find out by waiting
                    batch, self._waiting = batch + self._waiting, []
                    answers = [None] * len(batch)
                for (_, future), answer in zip(batch, answers, strict=True):
                    if future is not None and not future.done():  # its caller may have gone
                        future.set_result(answer)
        finally:
            self._drainer = None

    async def _call(self, items: list[dict[str, Any]]) -> Sequence[Any] | None:
        """The answers, or None: then the buckets count as lost for a moment."""
        given = (
            json.dumps(items, separators=(",", ":")),
            int(self._config.grace.total_seconds() * _US),
            self._config.places,
        )
        try:
            async with asyncio.timeout(self._config.timeout.total_seconds()):
                answers: Sequence[Any] = json.loads(await self._evaluate(given))
        except (TimeoutError, OSError, RedisError) as error:
            # Whatever was sent may still be answered: nobody may read that answer for another.
            await self._disconnect()
            if not self.lost:
                _LOG.warning("the shared limits are out of reach", error=type(error).__name__)
            self._lost_until = self._clock() + self._config.pause.total_seconds()
            return None
        if self.lost:
            _LOG.warning("the shared limits are back")
            self._lost_until = 0.0
        return answers

    async def _evaluate(self, given: tuple[str, int, int]) -> bytes:
        if self._connection is None:
            assert self._pool is not None  # noqa: S101 - nothing is submitted without
            self._connection = self._pool.make_connection()  # type: ignore[no-untyped-call] # redis-py has none
            await self._connection.connect()
            self._sha = await self._send("SCRIPT", "LOAD", _SCRIPT)
        try:
            return bytes(await self._send("EVALSHA", self._sha, 0, *given))
        except NoScriptError:  # its scripts were flushed
            return bytes(await self._send("EVAL", _SCRIPT, 0, *given))

    async def _send(self, *words: str | int) -> Any:
        # Below redis-py's commands, whose pool and retries cost more than the call.
        assert self._connection is not None  # noqa: S101 - `_evaluate` has made it
        packed = self._connection.pack_command(*words)
        await self._connection.send_packed_command(packed, check_health=False)
        return await self._connection.read_response(disable_decoding=True)

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(OSError, RedisError):
                await connection.disconnect(nowait=True)


def _pool(url: str) -> ConnectionPool:
    # The limiter has its own deadline, and never tries twice: a request is waiting.
    return ConnectionPool.from_url(
        url, socket_timeout=None, socket_connect_timeout=None, retry=Retry(NoBackoff(), 0)
    )


def _wire(draws: Sequence[Draw]) -> list[list[Any]]:
    return [[draw.key, draw.per_minute / 60 / _US, draw.burst, draw.cost] for draw in draws]


def _verdict(
    draws: Sequence[Draw], allowed: int, wait_us: float, which: int, used: Sequence[float]
) -> Verdict:
    limit = draws[which - 1].name if which else None
    return Verdict(bool(allowed), wait_us / _US, limit, tuple(map(buckets.standing, draws, used)))
