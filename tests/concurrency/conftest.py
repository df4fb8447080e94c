"""Two sessions that really commit, with the race arranged: one holds, the other is seen to wait."""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db import Database
from app.core.groupcommit import SETTINGS
from tests.waiting import until

Got = TypeVar("Got")
Connection = psycopg.AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Two:
    """Connections `a` and `b`, both outside autocommit, and a third that watches them."""

    a: Connection
    b: Connection
    watch: psycopg.Connection

    async def blocked(self, connection: Connection) -> None:
        """Return once the connection waits for a lock that another holds."""
        pid = connection.info.backend_pid

        async def waits() -> bool:
            row = self.watch.execute(
                "SELECT cardinality(pg_blocking_pids(%s)) > 0", (pid,)
            ).fetchone()
            return row is not None and bool(row[0])

        await until(waits, what=f"backend {pid} waits for a lock")

    async def blocked_session(self, session: AsyncSession) -> None:
        """Return once the session waits for a lock that another holds."""
        connection = await session.connection()
        raw = await connection.get_raw_connection()
        assert raw.driver_connection is not None
        await self.blocked(raw.driver_connection)

    async def race(self, first: Awaitable[Got], second: Awaitable[Any]) -> tuple[Got, Any]:
        """`first` on `a`, then `second` on `b`, which must wait for it; then both commit. Gives both answers."""
        won = await first
        late = asyncio.ensure_future(second)
        await self.blocked(self.b)
        await self.a.commit()
        answer = await late
        await self.b.commit()
        return won, answer


@pytest.fixture
async def two(db: Database, admin: psycopg.Connection) -> AsyncIterator[Two]:
    settings = {**SETTINGS, "lock_timeout": "10s"}
    async with (
        await db.connect_hot(autocommit=False, settings=settings) as a,
        await db.connect_hot(autocommit=False, settings=settings) as b,
    ):
        yield Two(a, b, admin)
        await a.rollback()
        await b.rollback()
