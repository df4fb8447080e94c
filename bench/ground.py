"""Ground of the measurements: servers in a temporary folder, a stack of processes, and what those cost."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console

from app.embedded import footprint, postgres, valkey
from migrations import run as migrations
from tests.stack import Stack, opened

console = Console(stderr=True)


@asynccontextmanager
async def ground(
    *,
    start: Sequence[str],
    slots: int = 50,
    provider_url: str | None = None,
    settings: dict[str, str] | None = None,
) -> AsyncIterator[Stack]:
    """Postgres, Valkey and the processes asked for; gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="tp-"))
    folder.chmod(0o755)
    database = await asyncio.to_thread(postgres.start, folder / "pg")
    broker = await asyncio.to_thread(valkey.start, folder / "vk")
    try:
        await asyncio.to_thread(migrations.up, database.owner_url)
        logs = folder / "logs"
        logs.mkdir()
        async with opened(
            superuser_url=database.superuser_url, app_url=database.app_url, broker_url=broker.broker(0),
            folder=logs, provider_url=provider_url, slots=slots, start=start, settings=settings,
        ) as stack:  # fmt: skip
            yield stack
    finally:
        await asyncio.to_thread(broker.stop)
        await asyncio.to_thread(database.stop)
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True)
class Cost:
    """CPU seconds a process tree took, and its largest memory."""

    cpu_seconds: float
    peak_mb: float


def cpu_seconds(pid: int) -> float:
    """User and system time of one process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def watched(pid: int, work: Any) -> tuple[Any, Cost]:
    """The outcome of `work`, and what the process cost meanwhile."""
    before, peak = cpu_seconds(pid), 0

    async def sample() -> None:
        nonlocal peak
        while True:
            peak = max(peak, await asyncio.to_thread(footprint.tree_bytes, pid))
            await asyncio.sleep(0.5)  # reading the maps stops the process for a moment

    sampling = asyncio.create_task(sample())
    try:
        outcome = await work
    finally:
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)
    return outcome, Cost(cpu_seconds(pid) - before, peak / 1_000_000)


async def commits_per_second(url: str, *, connections: int = 32, seconds: float = 2.0) -> float:
    """The server's own limit: one-row inserts, each a commit, on so many connections at once."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as admin:
        await admin.execute(
            "CREATE TABLE IF NOT EXISTS commit_probe (id bigint GENERATED ALWAYS AS IDENTITY, t text)"
        )
    end, done = time.perf_counter() + seconds, 0

    async def one() -> None:
        nonlocal done
        async with await psycopg.AsyncConnection.connect(
            url, autocommit=True, prepare_threshold=0
        ) as connection:
            while time.perf_counter() < end:
                await connection.execute(
                    "INSERT INTO commit_probe (t) VALUES ('a row of some length')"
                )
                done += 1

    await asyncio.gather(*[one() for _ in range(connections)])
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as admin:
        await admin.execute("DROP TABLE commit_probe")
    return done / seconds
