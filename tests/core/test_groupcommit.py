"""Group commit: what is promised to each caller, on a real database."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import psycopg
import pytest

from app.core.db import Database
from app.core.errors import Unavailable
from app.core.groupcommit import HASTY, GroupCommit

INSERT = """INSERT INTO squares SELECT n, 100 / n FROM jsonb_to_recordset(%s::jsonb) AS t (n int)
ON CONFLICT (n) DO UPDATE SET n = excluded.n RETURNING n, value"""


class Squares:
    """A group over a table of its own that remembers the sizes of its batches."""

    def __init__(self, db: Database) -> None:
        self.batches: list[int] = []
        self.gate: asyncio.Event | None = None
        self.group: GroupCommit[int, int] = GroupCommit(self.run, db, limit=8)

    async def run(
        self, connection: psycopg.AsyncConnection[Any], items: Sequence[int]
    ) -> list[int]:
        self.batches.append(len(items))
        if self.gate is not None:
            await self.gate.wait()
        cursor = await connection.execute(INSERT, (json.dumps([{"n": n} for n in items]),))
        values = {row.n: row.value for row in await cursor.fetchall()}
        return [values[n] for n in items]


@pytest.fixture
async def squares(db: Database, admin: psycopg.Connection) -> AsyncIterator[Squares]:
    admin.execute("CREATE TABLE squares (n int PRIMARY KEY, value int NOT NULL)")
    admin.execute("GRANT ALL ON squares TO towpath_app")
    made = Squares(db)
    yield made
    await made.group.close()


async def test_calls_that_arrive_together_share_transactions(squares: Squares) -> None:
    squares.gate = asyncio.Event()
    calls = [asyncio.create_task(squares.group.submit(n)) for n in range(1, 18)]
    await asyncio.sleep(0)
    squares.gate.set()
    assert await asyncio.gather(*calls) == [100 // n for n in range(1, 18)]
    assert squares.batches == [1, 8, 8] or squares.batches == [8, 8, 1]


async def test_a_bad_item_fails_alone(squares: Squares) -> None:
    calls = [squares.group.submit(n) for n in (1, 2, 0, 4)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [outcomes[0], outcomes[1], outcomes[3]] == [100, 50, 25]
    assert isinstance(outcomes[2], psycopg.errors.DivisionByZero)


async def test_a_lost_connection_is_survived(squares: Squares, admin: psycopg.Connection) -> None:
    assert await squares.group.submit(5) == 20
    admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'towpath_app'"
    )
    assert await squares.group.submit(4) == 25


async def test_without_a_database_the_caller_is_told(db: Database) -> None:
    async def never(connection: psycopg.AsyncConnection[Any], items: Sequence[int]) -> list[int]:
        return list(items)

    nowhere = Database("postgresql://towpath_app@127.0.0.1:1/none", db.engine, db.sessions)
    group: GroupCommit[int, int] = GroupCommit(never, nowhere)
    with pytest.raises(Unavailable):
        await group.submit(1)
    await group.close()


async def test_a_caller_that_leaves_harms_no_one(squares: Squares) -> None:
    squares.gate = asyncio.Event()
    calls = [asyncio.create_task(squares.group.submit(n)) for n in (1, 2, 4)]
    await asyncio.sleep(0)
    calls[1].cancel()
    squares.gate.set()
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [outcomes[0], outcomes[2]] == [100, 25]
    assert isinstance(outcomes[1], asyncio.CancelledError)


async def test_only_a_group_that_says_so_does_not_wait_for_the_disk(db: Database) -> None:
    async def setting(connection: psycopg.AsyncConnection[Any], items: Sequence[int]) -> list[str]:
        row = await (await connection.execute("SHOW synchronous_commit")).fetchone()
        assert row is not None
        return [str(row[0]) for _ in items]

    usual: GroupCommit[int, str] = GroupCommit(setting, db)
    hasty: GroupCommit[int, str] = GroupCommit(setting, db, settings=HASTY)
    async with await db.connect_hot() as plain:
        row = await (await plain.execute("SHOW synchronous_commit")).fetchone()
    assert row is not None
    assert (await usual.submit(1), await hasty.submit(1)) == (row[0], "off")
    await usual.close()
    await hasty.close()
