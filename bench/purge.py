"""Admission and dispatch while the purge works through a million rows, as parts of what they are without it."""

import asyncio
import json
import statistics
import subprocess
import sys
import time
from datetime import timedelta
from typing import Any, Final

import psycopg

from app.core.db import open_database
from app.retention import purge as purging
from app.retention.config import RetentionConfig
from bench import load, queue
from bench.ground import console, ground
from tests.arrange import NOOP
from tests.stack import ROOT
from tests.waiting import until

OLD: Final = 120_000  # jobs that ended long ago, each with an attempt, a step and four events
QUEUED: Final = 20_000
PASSES: Final = 40
ROUNDS: Final = 4
BODY: Final = json.dumps({"workflow": "noop", "input": {"n": 7}}).encode()


async def run(seconds: float = 4.0) -> dict[str, Any]:
    """Fields: both rates without the purge, and with it as a part of that; jobs purged a second meanwhile."""
    rates: dict[str, list[float]] = {}
    async with ground(start=("api",)) as stack:
        await stack.push(NOOP)
        await stack.post_job("noop", {"n": 0})
        url, first = stack.env["TOWPATH_DATABASE_URL"], 0

        def request(number: int) -> bytes:
            headers = {"Authorization": f"Bearer {stack.key}", "Idempotency-Key": f"bench-{number}"}
            return load.post("/v1/jobs", BODY, headers)

        admin = await psycopg.AsyncConnection.connect(stack.superuser_url, autocommit=True)
        async with admin:
            await queue.copy_jobs(admin, QUEUED)
            console.print(f"{OLD:,} old jobs")
            await queue.copy_old(admin, OLD)
            worker = await queue.make_worker(admin, 100_000)
            for place in range(2 * ROUNDS):
                name = ("without", "with", "with", "without")[
                    place % 4
                ]  # what drifts hits both alike
                console.print(f"round {place // 2 + 1} of {ROUNDS}, {name}")
                process = await _started(url, admin) if name == "with" else None
                before, began = await _old(admin), time.perf_counter()
                tally = await asyncio.to_thread(
                    load.blast, stack.port, request, clients=32, seconds=seconds, first=first
                )
                first += 10_000_000
                moved = await queue.passes(url, worker, PASSES)
                rates.setdefault(f"admitted_{name}", []).append(tally.per_second)
                rates.setdefault(f"dispatched_{name}", []).append(moved.dispatched)
                if process is not None:
                    took = time.perf_counter() - began
                    rates.setdefault("purged", []).append((before - await _old(admin)) / took)
                    process.terminate()
                    process.wait()
    middle = {name: statistics.median(found) for name, found in rates.items()}
    return {
        "admitted_per_second": round(middle["admitted_without"]),
        "admitted_ratio": round(middle["admitted_with"] / middle["admitted_without"], 3),
        "dispatched_per_second": round(middle["dispatched_without"]),
        "dispatched_ratio": round(middle["dispatched_with"] / middle["dispatched_without"], 3),
        "purged_jobs_per_second": round(middle["purged"]),
    }


async def _old(admin: queue.Connection) -> int:
    row = await (await admin.execute("SELECT count(*) FROM step")).fetchone()
    assert row is not None  # noqa: S101 - a count gives a row
    return int(row[0])


async def _started(url: str, admin: queue.Connection) -> subprocess.Popen[bytes]:
    """The purge in a process of its own, once it deletes."""
    before = await _old(admin)
    process = subprocess.Popen([sys.executable, "-m", "bench.purge", url], cwd=ROOT)

    async def deletes() -> bool:
        return await _old(admin) < before

    await until(deletes, seconds=60, what="the purge deletes")
    return process


async def follow(url: str) -> None:
    """The purge's loop alone, with contents and history of one age."""
    db = open_database(url, pool_size=2)
    await purging.follow(db, RetentionConfig(contents=None, history=timedelta(days=90)))


if __name__ == "__main__":
    asyncio.run(follow(sys.argv[1]))
