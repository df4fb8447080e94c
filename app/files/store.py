"""Bytes under their digest, in a folder of their tenant: written once, never changed."""

import asyncio
import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import ids
from app.core.errors import NotFound
from app.core.ids import FileId, TenantId
from app.files.errors import FileLost
from app.files.models import File


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
    digest = await session.scalar(select(File.sha256).where(File.tenant == tenant, File.id == file))
    if digest is None:
        raise NotFound
    return await asyncio.to_thread(_read, _place(store, tenant, digest), digest, file)


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
