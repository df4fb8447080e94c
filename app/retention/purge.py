"""The purge: what is older than it is kept goes, in small batches, at a stated part of the time.

Jobs are walked in the order of their ids, which is the order in which they were made: that needs no index on
when they ended, which every job would pay for. What the walk passes over, because it had not ended long
enough ago, is kept in mind and looked at once an hour. Each batch is one transaction and safe to run twice.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import psycopg
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import ids, statements
from app.core.db import Database
from app.core.statements import Statement
from app.idempotency import records
from app.retention.config import RetentionConfig
from app.retention.models import PurgeMark
from app.scheduling import dispatch
from app.webhooks import endpoints

PAUSE_SECONDS: Final = 30.0  # where nothing is left to do
LATER_SECONDS: Final = 3600.0  # between two looks at what the walk passed over
KEYS: Final = 1000  # idempotency records a batch
SETTINGS: Final = {
    # A job that goes is looked for in a dozen tables by their foreign keys: those plans are made once.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    # A batch that a crash of the server takes back is done again.
    "synchronous_commit": "off",
}
_START: Final = UUID(int=0)

_PAGE = statements.load(__file__, "page")
_PASSED_OVER = statements.load(__file__, "passed_over")
_PASS_OVER = statements.load(__file__, "pass_over")
_MARK = statements.load(__file__, "mark")
_ERASE = statements.load(__file__, "erase")
_FORGET = statements.load(__file__, "forget")
_DELIVERIES = statements.load(__file__, "deliveries")
_RUNS = statements.load(__file__, "runs")

Connection = psycopg.AsyncConnection[Any]


@dataclass(slots=True)
class Purge:
    """The purge of one process: what to do, and when what was passed over was looked at last."""

    db: Database
    connection: Connection
    config: RetentionConfig
    _looked: dict[str, float] = field(default_factory=dict)

    async def round(self) -> AsyncGenerator[bool]:
        """One batch of each kind of data; gives whether more of the kind is left."""
        config = self.config
        if config.contents is not None:
            yield await self._jobs("contents", config.contents, _ERASE)
        if config.history is not None:
            yield await self._jobs("history", config.history, _FORGET)
            yield await self._runs(config.history)
        if config.deliveries is not None:
            yield await self._deliveries(config.deliveries)
        yield await records.prune(self.db, limit=KEYS) == KEYS
        await endpoints.forget_old_secrets(self.db)
        await dispatch.tidy(self.connection)
        yield False

    async def _jobs(self, kind: str, kept: timedelta, statement: Statement) -> bool:
        if self._due(kind):
            await self._look_again(kind, kept, statement)
        until = await self._moment(kept)
        async with self.connection.transaction():
            after = await _after(self.connection, kind)
            bind = {"after": after, "until": _id_at(until), "batch": self.config.batch}
            page = [row.id for row in await _rows(self.connection, _PAGE, bind)]
            if not page:
                await self._mark(kind, after, 0, 0.0)
                return False
            done = await self._done(statement, page, kept)
            later = sorted(set(page) - done)
            await _rows(self.connection, _PASS_OVER, {"kind": kind, "later": later, "done": []})
            full = len(page) == self.config.batch
            behind = (until - _time_of(page[-1])).total_seconds() if full else 0.0
            await self._mark(kind, page[-1], len(done), max(0.0, behind))
        return full

    async def _look_again(self, kind: str, kept: timedelta, statement: Statement) -> None:
        after = _START
        while True:
            bind = {"kind": kind, "kept": kept, "after": after, "batch": self.config.batch}
            async with self.connection.transaction():
                rows = await _rows(self.connection, _PASSED_OVER, bind)
                if not rows:
                    return
                done = await self._done(statement, [row.job for row in rows], kept)
                over = sorted(done | {row.job for row in rows if row.gone})
                await _rows(self.connection, _PASS_OVER, {"kind": kind, "later": [], "done": over})
                await self._mark(kind, await _after(self.connection, kind), len(done), 0.0)
            after = rows[-1].job

    async def _done(self, statement: Statement, jobs: list[UUID], kept: timedelta) -> set[UUID]:
        rows = await _rows(self.connection, statement, {"jobs": jobs, "kept": kept})
        return {row.job for row in rows}

    async def _deliveries(self, kept: timedelta) -> bool:
        until = await self._moment(kept)
        async with self.connection.transaction():
            bind = {
                "after": await _after(self.connection, "deliveries"), "until": _id_at(until), "kept": kept,
                "batch": self.config.batch,
            }  # fmt: skip
            [row] = await _rows(self.connection, _DELIVERIES, bind)
            full = row.looked_at == self.config.batch
            behind = (until - _time_of(row.last)).total_seconds() if full else 0.0
            # Few stay behind, a delivery under way for one: the next walk begins at them.
            await self._mark("deliveries", row.last if full else _START, row.gone, max(0.0, behind))
        return bool(full)

    async def _runs(self, kept: timedelta) -> bool:
        bind = {"until": _id_at(await self._moment(kept)), "batch": self.config.batch}
        return len(await _rows(self.connection, _RUNS, bind)) == self.config.batch

    async def _moment(self, kept: timedelta) -> datetime:
        row = await (await self.connection.execute("SELECT app_now() AS now")).fetchone()
        assert row is not None  # noqa: S101 - a SELECT without FROM gives a row
        now: datetime = row.now
        return now - kept

    async def _mark(self, kind: str, after: UUID, purged: int, behind: float) -> None:
        bind = {"kind": kind, "after": after, "purged": purged, "behind_seconds": behind}
        await self.connection.execute(_MARK.raw, bind)

    def _due(self, kind: str) -> bool:
        now = time.monotonic()
        if now - self._looked.get(kind, -LATER_SECONDS) < LATER_SECONDS:
            return False
        self._looked[kind] = now
        return True


async def follow(db: Database, config: RetentionConfig) -> None:
    """Purge for ever, at most its part of the time."""
    async with await db.connect_hot(settings=SETTINGS) as connection:
        purge = Purge(db, connection, config)
        while True:
            more = False
            began = time.monotonic()
            async for full in purge.round():
                more |= full
                await asyncio.sleep((time.monotonic() - began) * (1 / config.part - 1))
                began = time.monotonic()
            if not more:
                await asyncio.sleep(PAUSE_SECONDS)


async def marks(session: AsyncSession) -> list[PurgeMark]:
    """How far each purge has come, by kind."""
    return list(await session.scalars(select(PurgeMark).order_by(PurgeMark.kind)))


async def _rows(connection: Connection, statement: Statement, bind: dict[str, Any]) -> list[Any]:
    cursor = await connection.execute(statement.raw, bind)
    return [] if cursor.description is None else await cursor.fetchall()


async def _after(connection: Connection, kind: str) -> UUID:
    query = "SELECT after FROM purge_mark WHERE kind = %(kind)s FOR UPDATE"
    row = await (await connection.execute(query, {"kind": kind})).fetchone()
    return _START if row is None else row.after


def _id_at(moment: datetime) -> UUID:
    """The first id of a moment: what was made before it sorts before it."""
    return ids.derived(moment, bytes(10))


def _time_of(made: UUID) -> datetime:
    return datetime.fromtimestamp((made.int >> 80) / 1000, UTC)
