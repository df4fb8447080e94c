"""The dispatcher's shards, shared out among the control processes: each leads an even part of them.

One session of a process holds a shared lock that counts it, and a lock for each shard that it leads. A
process takes free shards up to its part, and gives up what it has beyond it when another has come. As in
leadership.py the locks only save work: a pass is fenced by its shard's epoch.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import psycopg
import structlog

from app.core.db import Database
from app.scheduling import shards
from workers import leadership

log = structlog.get_logger()

FAMILY: Final = shards.LOCK_FAMILY
PRESENT: Final = 1_000_000  # the second half of the lock that counts processes: no shard's number

Connection = psycopg.AsyncConnection[Any]
Work = Callable[[int], Awaitable[None]]

_LOOK: Final = """
SELECT (SELECT shards FROM dispatch_shard WHERE id = 0) AS shards,
       (SELECT count(*) FROM pg_locks
         WHERE locktype = 'advisory' AND granted AND classid = %(family)s AND objid = %(present)s
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS processes
"""


@dataclass(slots=True)
class _Part:
    """The shards that this process leads, each with its running dispatcher."""

    connection: Connection
    work: Work
    tasks: dict[int, asyncio.Future[None]] = field(default_factory=dict)

    async def step(self) -> None:
        """Take or give up shards, so that this process has its part; start what failed anew."""
        look = await self._one(_LOOK, {"family": FAMILY, "present": PRESENT})
        part = -(-look.shards // max(1, look.processes))
        for shard in [shard for shard, task in self.tasks.items() if task.done()]:
            _tell(shard, self.tasks[shard])
            await self._give_up(shard)
        for shard in [shard for shard in self.tasks if shard >= look.shards]:
            await self._give_up(shard)
        while len(self.tasks) > part:
            await self._give_up(max(self.tasks))
        for shard in range(look.shards):
            if len(self.tasks) < part and shard not in self.tasks:
                await self._take(shard)

    async def _take(self, shard: int) -> None:
        bind = {"family": FAMILY, "shard": shard}
        row = await self._one("SELECT pg_try_advisory_lock(%(family)s, %(shard)s) AS held", bind)
        if row.held:
            log.info("shard.leads", shard=shard)
            self.tasks[shard] = asyncio.ensure_future(self.work(shard))

    async def _give_up(self, shard: int) -> None:
        await _ended(self.tasks.pop(shard))
        bind = {"family": FAMILY, "shard": shard}
        await self._one("SELECT pg_advisory_unlock(%(family)s, %(shard)s)", bind)

    async def _one(self, query: str, bind: dict[str, int]) -> Any:
        # A peer that is cut off answers nothing, and the socket doesn't say so.
        async with asyncio.timeout(leadership.SILENCE_SECONDS):
            return await (await self.connection.execute(query, bind)).fetchone()

    async def close(self) -> None:
        await asyncio.gather(*[_ended(task) for task in self.tasks.values()])


async def share_out(
    db: Database, begin: Callable[[Connection], Awaitable[None]], work: Work
) -> None:
    """Run `begin` once, then `work(shard)` for this process's part of the shards; until cancelled.

    A fault in work is logged and the shard is taken again: this is the outermost place of a dispatcher.
    """
    begun = False
    while True:
        try:
            async with await db.connect_hot(settings=leadership.SETTINGS) as connection:
                if not begun:
                    await begin(connection)
                    begun = True
                await _serve(connection, work)
        except (psycopg.Error, TimeoutError) as error:
            log.warning("shards.lock_lost", error=str(error))
        await asyncio.sleep(leadership.TRY_SECONDS)


async def _serve(connection: Connection, work: Work) -> None:
    bind = {"family": FAMILY, "present": PRESENT}
    await connection.execute("SELECT pg_try_advisory_lock_shared(%(family)s, %(present)s)", bind)
    part = _Part(connection, work)
    try:
        while True:
            await part.step()
            await asyncio.sleep(leadership.PING_SECONDS)
    finally:
        await part.close()


async def _ended(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _tell(shard: int, task: asyncio.Future[None]) -> None:
    error = None if task.cancelled() else task.exception()
    log.warning("shard.failed", shard=shard, error=str(error), exc_info=error)
