"""One loop, one advisory lock: replicas stand by, and a frozen leader loses the lock by itself.

The lock is only for efficiency: every statement of a loop is safe to run twice. It is tried, never
waited for (a waiting statement pins the oldest snapshot), on a connection of its own that the server ends
when it is silent for two seconds; the holder speaks twice a second. So another leads within three seconds
of a leader that was killed, is frozen, or is cut off: the last two lose the lock by their silence.
"""

import asyncio
import zlib
from collections.abc import Awaitable, Callable
from typing import Any, Final

import psycopg
import structlog

from app.core.db import Database

log = structlog.get_logger()

TRY_SECONDS: Final = 0.5
PING_SECONDS: Final = 0.5
SILENCE_SECONDS: Final = 2
SETTINGS: Final = {"idle_session_timeout": f"{SILENCE_SECONDS}s"}
FAMILY: Final = 7_214_000  # the first half of the lock's key: Towpath's loops

Connection = psycopg.AsyncConnection[Any]


class _CutOff(Exception):
    """The lock's connection is silent: the server has ended its session, or will."""


async def lead(name: str, db: Database, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` whenever this process holds the loop's lock; until cancelled.

    `work` runs until it is cancelled, which happens when the lock is lost. A fault in it is logged, and
    the loop starts again: this is the outermost place of a loop.
    """
    while True:
        try:
            async with await db.connect_hot(settings=SETTINGS) as connection:
                await _acquire(connection, name)
                log.info("loop.leads", loop=name)
                await _hold(connection, work)
        except (psycopg.Error, _CutOff) as error:
            log.warning("loop.lock_lost", loop=name, error=str(error))
        except Exception:  # a loop outlives its faults; each is logged
            log.exception("loop.failed", loop=name)
        await asyncio.sleep(TRY_SECONDS)


async def _acquire(connection: Connection, name: str) -> None:
    key = zlib.crc32(name.encode()) & 0x7FFF_FFFF
    while True:
        cursor = await connection.execute(
            "SELECT pg_try_advisory_lock(%s::int, %s::int) AS held", (FAMILY, key)
        )
        row = await cursor.fetchone()
        if row is not None and row.held:
            return
        await asyncio.sleep(TRY_SECONDS)


async def _hold(connection: Connection, work: Callable[[], Awaitable[None]]) -> None:
    task = asyncio.ensure_future(work())
    ping = asyncio.create_task(_ping(connection))
    try:
        await asyncio.wait({task, ping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in (task, ping):
            one.cancel()
        outcomes = await asyncio.gather(task, ping, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome


async def _ping(connection: Connection) -> None:
    while True:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                await connection.execute("SELECT 1")
        except (
            TimeoutError
        ) as error:  # a peer that is cut off answers nothing, and the socket doesn't say so
            raise _CutOff("The database doesn't answer.") from error
        await asyncio.sleep(PING_SECONDS)
