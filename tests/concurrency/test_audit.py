"""Many append while sealers compete: one unbroken chain a tenant, and no entry in two places."""

import asyncio
import sys

import psycopg
import pytest
from sqlalchemy import text

from app.audit import sealer, trail, verification
from app.core.db import Database, open_database
from app.core.errors import Unavailable
from app.core.ids import TenantId
from tests.arrange import make_tenant
from tests.audit import writer
from tests.audit.ledger import append, entries, report, seal_all
from tests.waiting import until

PROCESSES = 4


async def test_c122_200_writers_over_4_processes_and_5_tenants_leave_unbroken_chains(
    db: Database, admin: psycopg.Connection
) -> None:
    tenants = [make_tenant(admin, f"t{n}") for n in range(5)]
    command = [sys.executable, "-m", "tests.audit.writer", db.url, *map(str, tenants)]
    writers = [await asyncio.create_subprocess_exec(*command) for _ in range(PROCESSES)]
    done = asyncio.Event()

    async def seal(own: Database) -> int:
        """A sealer like the control process's, in batches that never divide evenly."""
        total = 0
        while not done.is_set():
            sealed = await sealer.seal(own, limit=97)
            total += sealed
            if not sealed:
                await asyncio.wait([closing], timeout=0.02)
        return total

    closing = asyncio.create_task(done.wait())
    replicas = [open_database(db.url, pool_size=1) for _ in range(3)]
    sealers = [asyncio.create_task(seal(own)) for own in replicas]
    assert [await one.wait() for one in writers] == [0] * PROCESSES
    done.set()
    meanwhile = sum(await asyncio.gather(*sealers))
    for own in replicas:
        await own.close()
    after = await seal_all(db)
    written = PROCESSES * writer.WRITERS * writer.COMMITS * writer.ENTRIES
    assert meanwhile + after == written
    assert meanwhile > 0  # the race was one
    reports = await verification.verify(db)
    assert {one.chain for one in reports} == set(tenants)
    assert [(one.broken, one.sealed, one.unsealed) for one in reports] == [
        (None, written // 5, 0)
    ] * 5


async def test_an_entry_that_commits_late_comes_later_in_its_chain(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    (early,), (late,) = entries(tenant, 1), entries(tenant, 1)
    async with db.sessions() as slow:
        await trail.append(slow, early)  # a lower id, not yet visible
        await append(db, late)
        assert await sealer.seal(db) == 1
        await slow.commit()
    assert await sealer.seal(db) == 1
    chain = admin.execute("SELECT entry FROM audit_link ORDER BY seq").fetchall()
    assert chain == [(late.id,), (early.id,)]
    assert (await report(db, tenant)).broken is None


async def test_a_second_sealer_finds_the_first_at_work_and_leaves(
    db: Database, tenant: TenantId
) -> None:
    await append(db, *entries(tenant, 2))
    async with db.transaction() as first:
        held = await first.execute(text("SELECT pg_try_advisory_xact_lock(7214, 1)"))
        assert held.scalar_one()
        assert await asyncio.wait_for(sealer.seal(db), 5) == 0
    assert await sealer.seal(db) == 2


async def test_a_sealer_that_dies_half_way_leaves_nothing_half_sealed(
    db: Database, admin: psycopg.Connection, superuser_url: str, tenant: TenantId
) -> None:
    await append(db, *entries(tenant, 3))
    killer = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )

    async def killed() -> bool:
        return admin.execute(killer).fetchone() is not None

    with psycopg.connect(superuser_url) as holder:
        # The links are made, then it waits for a pending row that another holds.
        holder.execute("SELECT FROM audit_pending FOR UPDATE")
        dying = asyncio.create_task(sealer.seal(db))
        await until(killed, what="the sealer waits and is killed")
        with pytest.raises(Unavailable):
            await dying
    assert (await report(db, tenant)).unsealed == 3
    assert await sealer.seal(db) == 3
    assert (await report(db, tenant)).broken is None
