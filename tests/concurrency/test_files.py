"""Bytes that are put while the same bytes are swept are there afterwards."""

import asyncio
from pathlib import Path

import psycopg
import pytest

from app.core.db import Database
from app.core.ids import FileId, TenantId
from app.files import store
from app.files.store import Store
from tests.waiting import until

TEXT = b"the text"


@pytest.fixture
def shelf(tmp_path: Path) -> Store:
    return store.open_store(tmp_path / "files")


async def dropped(db: Database, shelf: Store, tenant: TenantId, admin: psycopg.Connection) -> None:
    async with db.transaction() as session:
        file = await store.put(session, shelf, tenant, TEXT, "text/plain", "document")
        await store.drop(session, tenant, [file])
    admin.execute("UPDATE file SET dropped_at = dropped_at - interval '2 minutes'")


async def read(db: Database, shelf: Store, tenant: TenantId, file: FileId) -> bytes:
    async with db.transaction() as session:
        return await store.get(session, shelf, tenant, file)


def one_waits(admin: psycopg.Connection) -> bool:
    row = admin.execute(
        "SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database"
        " WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
    ).fetchone()
    return row == (1,)


async def test_a_sweep_waits_for_who_puts_the_same_bytes_and_leaves_them(
    db: Database, shelf: Store, tenant: TenantId, admin: psycopg.Connection
) -> None:
    await dropped(db, shelf, tenant, admin)

    async def waits() -> bool:
        return one_waits(admin)

    async with db.transaction() as session:
        file = await store.put(session, shelf, tenant, TEXT, "text/plain", "document")
        sweeping = asyncio.create_task(store.sweep(db, shelf))
        await until(waits)
    assert await sweeping == 1
    assert await read(db, shelf, tenant, file) == TEXT


async def test_bytes_that_were_swept_under_a_puts_hands_are_written_again(
    db: Database, shelf: Store, tenant: TenantId, admin: psycopg.Connection
) -> None:
    await dropped(db, shelf, tenant, admin)
    row = admin.execute("SELECT encode(sha256, 'hex') FROM file").fetchone()
    assert row is not None
    key = f"{tenant.hex}/{row[0]}"

    async def waits() -> bool:
        return one_waits(admin)

    async def put() -> FileId:
        async with db.transaction() as session:
            return await store.put(session, shelf, tenant, TEXT, "text/plain", "document")

    # As a sweep holds them, between its look at the rows and its commit.
    with admin.transaction():
        admin.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", (key,))
        putting = asyncio.create_task(put())
        await until(waits)
        [path] = [path for path in shelf.folder.rglob("*") if path.is_file()]
        path.unlink()
    assert await read(db, shelf, tenant, await putting) == TEXT
