"""The store: bytes come back as they were, or not at all."""

from pathlib import Path

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import ids
from app.core.db import Database
from app.core.errors import NotFound
from app.core.ids import FileId, TenantId
from app.files import store
from app.files.errors import FileLost
from app.files.store import Store
from tests.arrange import make_tenant


@pytest.fixture
def shelf(tmp_path: Path) -> Store:
    return store.open_store(tmp_path / "files")


def stored(shelf: Store) -> list[Path]:
    return [path for path in shelf.folder.rglob("*") if path.is_file()]


async def test_bytes_come_back_as_they_were(
    session: AsyncSession, shelf: Store, tenant: TenantId
) -> None:
    data = bytes(range(256)) * 5
    file = await store.put(session, shelf, tenant, data, "application/octet-stream", "document")
    assert await store.get(session, shelf, tenant, file) == data


async def test_the_same_bytes_lie_once_a_tenant(
    session: AsyncSession, shelf: Store, tenant: TenantId, admin: psycopg.Connection
) -> None:
    other = make_tenant(admin, "other")
    for owner in (tenant, tenant, other):
        await store.put(session, shelf, owner, b"same", "text/plain", "document")
    assert sorted(path.parent.parent.name for path in stored(shelf)) == sorted(
        [tenant.hex, other.hex]
    )


async def test_another_tenants_file_is_not_found(
    session: AsyncSession, shelf: Store, tenant: TenantId, admin: psycopg.Connection
) -> None:
    file = await store.put(session, shelf, tenant, b"mine", "text/plain", "document")
    for owner, name in ((make_tenant(admin, "other"), file), (tenant, FileId(ids.new()))):
        with pytest.raises(NotFound):
            await store.get(session, shelf, owner, name)


async def test_changed_bytes_are_never_given(
    session: AsyncSession, shelf: Store, tenant: TenantId
) -> None:
    file = await store.put(session, shelf, tenant, b"the truth", "text/plain", "document")
    [path] = stored(shelf)
    path.write_bytes(b"the lie!!")
    with pytest.raises(FileLost, match="changed"):
        await store.get(session, shelf, tenant, file)
    path.unlink()
    with pytest.raises(FileLost, match="missing"):
        await store.get(session, shelf, tenant, file)


async def test_a_damaged_copy_is_mended_by_the_next_put(
    session: AsyncSession, shelf: Store, tenant: TenantId
) -> None:
    await store.put(session, shelf, tenant, b"the truth", "text/plain", "document")
    [path] = stored(shelf)
    path.write_bytes(b"")
    file = await store.put(session, shelf, tenant, b"the truth", "text/plain", "document")
    assert await store.get(session, shelf, tenant, file) == b"the truth"


async def test_a_dropped_file_is_gone_at_once_and_swept_after_a_minute(
    db: Database, shelf: Store, tenant: TenantId, admin: psycopg.Connection
) -> None:
    async with db.transaction() as session:
        file = await store.put(session, shelf, tenant, b"the text", "text/plain", "document")
    async with db.transaction() as session:
        await store.drop(session, tenant, [file])
        with pytest.raises(NotFound):
            await store.get(session, shelf, tenant, file)
    assert await store.sweep(db, shelf) == 0
    assert len(stored(shelf)) == 1

    admin.execute("UPDATE file SET dropped_at = dropped_at - interval '61 seconds'")
    assert (await store.sweep(db, shelf), await store.sweep(db, shelf)) == (1, 0)
    assert stored(shelf) == []
    assert admin.execute("SELECT count(*) FROM file").fetchone() == (0,)


async def test_a_sweep_that_died_after_the_bytes_is_made_good_by_the_next(
    db: Database, shelf: Store, tenant: TenantId, admin: psycopg.Connection
) -> None:
    async with db.transaction() as session:
        file = await store.put(session, shelf, tenant, b"the text", "text/plain", "document")
        await store.drop(session, tenant, [file])
    admin.execute("UPDATE file SET dropped_at = dropped_at - interval '2 minutes'")
    [path] = stored(shelf)
    path.unlink()
    assert await store.sweep(db, shelf) == 1
    assert admin.execute("SELECT count(*) FROM file").fetchone() == (0,)
