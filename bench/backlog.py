"""The same rates with 10,000, 300,000 and 1,000,000 queued jobs: dispatch, claim, finish, and a real drain."""

import asyncio
from typing import Any, Final

import psycopg

from bench import queue
from bench.ground import console, ground
from tests.arrange import NOOP
from tests.stack import Stack
from tests.waiting import until

SIZES: Final = (10_000, 300_000, 1_000_000)
PASSES: Final = 60  # of 100 jobs, timed by their median
WINDOW_SECONDS: Final = 5.0


async def run() -> dict[str, Any]:
    """Fields: each rate at the smallest size in jobs a second, and at the others as a part of it."""
    figures: dict[str, Any] = {}
    async with ground(start=("api",), slots=200) as stack:
        await stack.push(NOOP)
        await stack.post_job("noop", {"n": 0})
        admin = await psycopg.AsyncConnection.connect(stack.superuser_url, autocommit=True)
        async with admin:
            for size in SIZES:
                console.print(f"{size:,} queued")
                await queue.copy_jobs(admin, size - await queue.queued(admin))
                worker = await queue.make_worker(admin, 100_000)
                rates = await queue.passes(stack.env["TOWPATH_DATABASE_URL"], worker, PASSES)
                await admin.execute("DELETE FROM worker")
                figures |= _told(figures, size, "dispatch", rates.dispatched)
                figures |= _told(figures, size, "claim", rates.claimed)
                figures |= _told(figures, size, "finish", rates.finished)
                figures |= _told(figures, size, "drain", await _drained(stack))
    return figures


def _told(known: dict[str, Any], size: int, name: str, rate: float) -> dict[str, Any]:
    smallest = f"{name}_per_second_at_{SIZES[0]}"
    if size == SIZES[0]:
        return {smallest: round(rate, 1)}
    return {f"{name}_ratio_at_{size}": round(rate / known[smallest], 3)}


async def _drained(stack: Stack) -> float:
    """Jobs a second that end in the first seconds after the first one, by one worker as deployed."""
    done = "SELECT count(*) FROM attempt WHERE outcome = 'succeeded'"  # a table far shorter than the queue
    before = await stack.value(done)
    await stack.start_worker("worker")
    stack.start("control")

    async def begun() -> bool:
        return bool(await stack.value(done) > before)

    await until(begun, seconds=120, what="the drain begins")
    await asyncio.sleep(1.0)  # the first second goes into opening connections
    first = await stack.value(done)
    await asyncio.sleep(WINDOW_SECONDS)
    ended = await stack.value(done) - first
    await stack.stop("control")
    await stack.stop("worker")
    return float(ended / WINDOW_SECONDS)
