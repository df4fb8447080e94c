"""Bytes under their digest, in a folder of their tenant: written once, never changed."""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import ids
from app.core.db import Database
from app.core.errors import NotFound
from app.core.ids import FileId, TenantId
from app.files.errors import FileLost
from app.files.models import File

SPARED: Final = timedelta(minutes=1)  # a dropped file may be in a reader's hand just now

# One who puts bytes and one who removes the same bytes take turns.
_HOLD: Final = text("SELECT pg_advisory_xact_lock_shared(hashtextextended(:bytes, 0))")
_ALONE: Final = text("SELECT pg_advisory_xact_lock(hashtextextended(:bytes, 0))")


@dataclass(frozen=True, slots=True)
class Store:
    """Where the bytes lie."""

    folder: Path


def open_store(folder: Path) -> Store:
    """A store in this folder, made if absent, for its owner's eyes alone."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return Store(folder)


async def put(
    session: AsyncSession,
    store: Store,
    tenant: TenantId,
    data: bytes,
    media_type: str,
    purpose: str,
) -> FileId:
    """Keep these bytes: on the disk first, then a row in the caller's transaction.

    Call it before the transaction's first statement: the disk is slow and nothing should be locked.
    """
    digest = await asyncio.to_thread(_keep, store, tenant, data)
    await session.execute(_HOLD, {"bytes": _bytes(tenant, digest)})
    # Found whole, and swept before this transaction held them: written again, which is rare.
    await asyncio.to_thread(_keep_again, store, tenant, digest, data)
    file = FileId(ids.new())
    row = {
        "id": file,
        "tenant": tenant,
        "sha256": digest,
        "size_bytes": len(data),
        "media_type": media_type,
        "purpose": purpose,
        "created_at": func.app_now(),
    }
    await session.execute(insert(File).values(row))
    return file


async def get(session: AsyncSession, store: Store, tenant: TenantId, file: FileId) -> bytes:
    """The bytes of a file. Raises NotFound where the tenant has none, FileLost where they changed."""
    digest = await session.scalar(
        select(File.sha256).where(File.tenant == tenant, File.id == file, File.dropped_at.is_(None))
    )
    if digest is None:
        raise NotFound
    return await asyncio.to_thread(_read, _place(store, tenant, digest), digest, file)


async def drop(session: AsyncSession, tenant: TenantId, files: Collection[FileId]) -> None:
    """Nobody refers to these any more: they are gone for readers, and the sweep removes their bytes."""
    await session.execute(
        update(File)
        .where(File.tenant == tenant, File.id.in_(files), File.dropped_at.is_(None))
        .values(dropped_at=func.app_now())
    )


async def sweep(db: Database, store: Store) -> int:
    """Remove one dropped file: its bytes, unless another file has the same, then its row. Gives how many.

    Safe to run twice and at once; dead in between, the row is still there for the next. Locks the
    file, then its bytes.
    """
    next_ = (
        select(File.id, File.tenant, File.sha256)
        .where(File.dropped_at <= func.app_now() - SPARED)
        .order_by(File.dropped_at)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    async with db.transaction() as session:
        row = (await session.execute(next_)).one_or_none()
        if row is None:
            return 0
        await session.execute(_ALONE, {"bytes": _bytes(row.tenant, row.sha256)})
        # Asked by a statement of its own: it sees the row of who has just put the same bytes.
        others = select(func.count()).where(
            File.tenant == row.tenant, File.sha256 == row.sha256, File.id != row.id
        )
        if not await session.scalar(others):
            await asyncio.to_thread(_remove, _place(store, row.tenant, row.sha256))
        await session.execute(delete(File).where(File.id == row.id))
    return 1


def _bytes(tenant: TenantId, digest: bytes) -> str:
    return f"{tenant.hex}/{digest.hex()}"


def _place(store: Store, tenant: TenantId, digest: bytes) -> Path:
    name = digest.hex()
    return store.folder / tenant.hex / name[:2] / name


def _keep(store: Store, tenant: TenantId, data: bytes) -> bytes:
    digest = hashlib.sha256(data).digest()
    place = _place(store, tenant, digest)
    if _whole(place, digest):
        return digest
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Written aside and renamed: whoever finds the name finds all the bytes, after a power cut too.
    with tempfile.NamedTemporaryFile(dir=place.parent, prefix=".part-", delete=False) as part:
        part.write(data)
        part.flush()
        os.fsync(part.fileno())
    Path(part.name).rename(place)
    for folder in (place.parent, place.parent.parent, store.folder):
        _sync_folder(folder)
    return digest


def _keep_again(store: Store, tenant: TenantId, digest: bytes, data: bytes) -> None:
    if not _place(store, tenant, digest).exists():
        _keep(store, tenant, data)


def _remove(place: Path) -> None:
    place.unlink(missing_ok=True)
    if place.parent.exists():
        _sync_folder(place.parent)


def _whole(place: Path, digest: bytes) -> bool:
    try:
        return hashlib.sha256(place.read_bytes()).digest() == digest
    except FileNotFoundError:
        return False


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(place: Path, digest: bytes, file: FileId) -> bytes:
    try:
        data = place.read_bytes()
    except FileNotFoundError as error:
        raise FileLost("the bytes are missing", file=ids.wire("file", file)) from error
    if hashlib.sha256(data).digest() != digest:
        raise FileLost("the bytes have changed", file=ids.wire("file", file))
    return data
