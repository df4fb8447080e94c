"""Two transactions claim one name: the second waits, and then knows what became of the first."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import ids
from app.core.db import Database
from app.core.ids import TenantId
from app.idempotency import records
from app.idempotency.errors import IdempotencyKeyReused
from tests.waiting import until


@dataclass(frozen=True, slots=True)
class Rivals:
    """Two sessions that claim the same name, one after the other."""

    a: AsyncSession
    b: AsyncSession
    tenant: TenantId
    watch: psycopg.Connection

    async def claim(self, session: AsyncSession, body: str = "same") -> tuple[records.Claim, UUID]:
        fresh, print_ = ids.new(), records.fingerprint(body)
        return await records.claim(session, self.tenant, "POST /v1/keys", "k", print_, fresh), fresh

    async def late(self, body: str = "same") -> "asyncio.Task[tuple[records.Claim, UUID]]":
        """The second claim, once it is seen to wait for the first."""
        pid = (await self.b.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        task = asyncio.create_task(self.claim(self.b, body))

        async def waits() -> bool:
            row = self.watch.execute(
                "SELECT cardinality(pg_blocking_pids(%s)) > 0", (pid,)
            ).fetchone()
            return row is not None and bool(row[0])

        await until(waits, what="the second claim waits")
        return task


@pytest.fixture
async def rivals(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> AsyncIterator[Rivals]:
    async with db.sessions() as a, db.sessions() as b:
        yield Rivals(a, b, tenant, admin)


async def test_the_second_finds_the_object_of_the_first(rivals: Rivals) -> None:
    _, made = await rivals.claim(rivals.a)
    late = await rivals.late()
    await rivals.a.commit()
    assert (await late)[0] == records.Claim(made, replayed=True)


async def test_the_second_with_another_body_is_refused(rivals: Rivals) -> None:
    await rivals.claim(rivals.a)
    late = await rivals.late("another")
    await rivals.a.commit()
    with pytest.raises(IdempotencyKeyReused):
        await late


async def test_the_second_takes_the_place_of_a_first_that_failed(rivals: Rivals) -> None:
    await rivals.claim(rivals.a)
    late = await rivals.late("another")
    await rivals.a.rollback()
    claim, fresh = await late
    assert claim == records.Claim(fresh, replayed=False)


async def test_of_two_that_find_a_name_expired_one_gets_it(
    rivals: Rivals, admin: psycopg.Connection
) -> None:
    await rivals.claim(rivals.a)
    await rivals.a.commit()
    admin.execute("UPDATE idempotency_record SET expires_at = now() - interval '1 hour'")
    first, fresh = await rivals.claim(rivals.a)
    late = await rivals.late()
    await rivals.a.commit()
    assert first == records.Claim(fresh, replayed=False)
    assert (await late)[0] == records.Claim(fresh, replayed=True)


async def test_50_claims_of_one_name_make_one_object(db: Database, tenant: TenantId) -> None:
    async def one() -> UUID:
        async with db.transaction() as session:
            claim = await records.claim(
                session, tenant, "POST /v1/keys", "k", records.fingerprint({}), ids.new()
            )
            return claim.object

    assert len(set(await asyncio.gather(*(one() for _ in range(50))))) == 1
