"""Control: the loops that release, wake, reap, relay, seal and roll up. Any number of processes; one leads a loop."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import psycopg
import structlog
import uvloop

from app.attempts.config import LeaseConfig
from app.audit import sealer
from app.bootstrap import platform, reporting, settings
from app.bootstrap.settings import Settings
from app.budgets import ledger
from app.core.db import Database
from app.files import store as storing
from app.health import pulses as living
from app.health.pulses import Pulses
from app.intake import charges, levels, uniqueness
from app.intake.admission import Desk
from app.jobs.transitions import Released
from app.ratelimit.limiter import Limiter
from app.retention import purge
from app.schedules import firing
from app.scheduling import costs, dispatch, division, quarantine, reaper, shards, waker
from app.usage import rollups
from app.webhooks import deliveries, relay
from workers import broker, leadership, publishing, sharding
from workers.celery import make

log = structlog.get_logger()

WAKE_SECONDS: Final = 0.5
REAP_SECONDS: Final = 0.5
RELAY_SECONDS: Final = 0.25
RELAY_GAP: Final = 0.05
DISPATCH_GAP: Final = 0.005
SEAL_SECONDS: Final = 0.25
ROLL_SECONDS: Final = 2.0
TIDY_SECONDS: Final = 30.0
COSTS_SECONDS: Final = 5.0
STOP_SECONDS: Final = 2.0
SCHEDULE_SECONDS: Final = 1.0
DELIVERY_BATCH: Final = 100
BROKER_SECONDS: Final = 5.0
BROKER: Final = "broker"
# These and the dispatchers of all shards beat, or the platform stands still: readiness asks for them.
VITAL: Final = ("slots", "waker", "reaper", "relay", "sealer", "schedules", BROKER)

Connection = psycopg.AsyncConnection[Any]


@contextlib.asynccontextmanager
async def _listening(db: Database, channel: str) -> AsyncIterator[asyncio.Event]:
    """An event that a NOTIFY on `channel` sets; many notifications are one wake-up."""
    heard = asyncio.Event()
    async with await db.connect_hot(settings={}) as connection:
        await connection.execute(f"LISTEN {channel}")

        async def listen() -> None:
            async for _ in connection.notifies():
                heard.set()

        task = asyncio.create_task(listen())
        task.add_done_callback(
            lambda _: heard.set()
        )  # a lost connection wakes the loop, which finds out
        try:
            yield heard
            if task.done():
                task.result()
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, psycopg.Error):
                await task


class _Pace:
    """Waits for the next pass: until something is heard, but no sooner than a gap after the last one began.

    An idle loop answers at once; a busy one gathers what comes meanwhile, and is paid for once.
    """

    def __init__(self, heard: asyncio.Event, *, gap: float, longest: float) -> None:
        self._heard = heard
        self._gap = gap
        self._longest = longest
        self._began = time.monotonic()

    async def next(self) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._heard.wait(), self._longest)
        early = self._began + self._gap - time.monotonic()
        if early > 0:
            await asyncio.sleep(early)
        self._began = time.monotonic()
        self._heard.clear()


async def dispatcher(
    db: Database,
    chosen: Settings,
    publisher: publishing.Publisher,
    pulses: Pulses,
    shard: int,
) -> None:
    """Release a shard's jobs while there are free slots; sleep until something is heard, a second at most."""
    lease = chosen.leases.dispatch
    async with (
        _listening(db, "dispatch") as heard,
        await db.connect_hot(settings=dispatch.SETTINGS) as connection,
    ):
        lead = await dispatch.lead(connection, shard)
        pace = _Pace(heard, gap=DISPATCH_GAP, longest=chosen.scheduling.fallback.total_seconds())
        while True:
            done = await dispatch.release(connection, lead, chosen.scheduling, lease)
            refused = await _publish(publisher, done.released)
            if refused:
                log.error("dispatch.broker_refused", jobs=len(refused))
                await dispatch.unpublish(connection, refused)
                await asyncio.sleep(chosen.scheduling.fallback.total_seconds())
                continue
            pulses.beat(_shard(shard))
            if not done.more:
                await pace.next()


async def _publish(
    publisher: publishing.Publisher, released: dict[str, list[list[Released]]]
) -> list[Released]:
    refused = []
    for lane, groups in released.items():
        refused += await publisher.attempts(lane, groups)
    return refused


async def reaping(db: Database, leases: LeaseConfig, pulses: Pulses) -> None:
    """Reap, but not before a whole lease after this loop's, or the server's, own start."""
    async with await db.connect_hot() as connection:
        up = await reaper.up_for(connection)
        await asyncio.sleep(leases.running.total_seconds())
        missing = leases.running - up
        await asyncio.sleep(max(0.0, missing.total_seconds()))
        while True:
            ended = await reaper.reap(connection)
            pulses.beat("reaper")
            if ended:
                log.warning("reaper.ended", attempts=ended)
            if ended < reaper.BATCH:
                await asyncio.sleep(REAP_SECONDS)


async def relaying(
    db: Database, publisher: publishing.Publisher, chosen: Settings, pulses: Pulses
) -> None:
    """Events to deliveries, due deliveries to their lane. Woken when a job ends, or by the clock."""
    async with _listening(db, "jobs_ended") as heard:
        pace = _Pace(heard, gap=RELAY_GAP, longest=RELAY_SECONDS)
        while True:
            moved = await relay.relay(db)
            due = await deliveries.due(db, chosen.webhooks, DELIVERY_BATCH)
            await publisher.deliveries(due)
            pulses.beat("relay")
            if not moved and len(due) < DELIVERY_BATCH:
                await pace.next()


def _every(
    db: Database, seconds: float, work: Callable[[Connection], Awaitable[Any]]
) -> Callable[[], Awaitable[None]]:
    async def loop() -> None:
        async with await db.connect_hot() as connection:
            while True:
                await work(connection)
                await asyncio.sleep(seconds)

    return loop


def _following(
    db: Database, work: Callable[[Connection], Awaitable[None]]
) -> Callable[[], Awaitable[None]]:
    async def loop() -> None:
        async with await db.connect_hot(settings=dispatch.SETTINGS) as connection:
            await work(connection)

    return loop


def _drained(seconds: float, work: Callable[[], Awaitable[int]]) -> Callable[[], Awaitable[None]]:
    async def loop() -> None:
        while True:
            if not await work():
                await asyncio.sleep(seconds)

    return loop


def loops(
    desk: Desk, chosen: Settings, publisher: publishing.Publisher, pulses: Pulses
) -> dict[str, Callable[[], Awaitable[None]]]:
    """Every loop by its name, which is its lock's; beside them, the dispatchers (sharding.py)."""
    db, limiter = desk.db, desk.limiter
    shelf = storing.open_store(chosen.files_folder)
    return {
        "slots": _following(
            db,
            lambda connection: division.follow(
                connection, chosen.scheduling, lambda: pulses.beat("slots")
            ),
        ),
        "waker": _every(db, WAKE_SECONDS, pulses.after("waker", waker.wake)),
        "reaper": lambda: reaping(db, chosen.leases, pulses),
        "relay": lambda: relaying(db, publisher, chosen, pulses),
        "sealer": _drained(SEAL_SECONDS, pulses.after("sealer", lambda: sealer.seal(db))),
        "schedules": _drained(
            SCHEDULE_SECONDS,
            pulses.after("schedules", lambda: firing.step(desk, chosen.schedules)),
        ),
        "rollups": _drained(ROLL_SECONDS, lambda: rollups.roll(db)),
        "refunds": lambda: charges.follow(db, limiter),
        "levels": _following(db, levels.follow),
        "names": _every(db, TIDY_SECONDS, uniqueness.Sweep().step),
        "quarantine": _every(db, TIDY_SECONDS, quarantine.watch),
        "purge": lambda: purge.follow(db, chosen.retention),
        "costs": _every(db, COSTS_SECONDS, costs.learn),
        "files": _drained(TIDY_SECONDS, lambda: storing.sweep(db, shelf)),
        "orphans": _every(db, TIDY_SECONDS, ledger.sweep),
    }


async def _dispatchers(
    db: Database, chosen: Settings, publisher: publishing.Publisher, pulses: Pulses
) -> None:
    async def lay_out(connection: Connection) -> None:
        if await shards.lay_out(connection, chosen.dispatch_shards, chosen.scheduling):
            log.info("shards.laid_out", shards=chosen.dispatch_shards)

    await sharding.share_out(
        db, lay_out, lambda shard: dispatcher(db, chosen, publisher, pulses, shard)
    )


def _shard(number: int) -> str:
    return f"dispatcher.{number}"


async def telling(db: Database, pulses: Pulses, parts: Sequence[str]) -> None:
    """Write down which loops made a pass, each second; a database that is away is tried again."""
    while True:
        try:
            async with await db.connect_hot() as connection:
                await living.keep(connection, parts)
                while True:
                    await living.write(connection, pulses)
                    await asyncio.sleep(living.WRITE_SECONDS)
        except psycopg.Error as error:
            log.warning("pulses.unwritten", error=str(error))
        await asyncio.sleep(living.WRITE_SECONDS)


async def watching(chosen: Settings, pulses: Pulses) -> None:
    """Ask the broker over a fresh connection, every few seconds: it must answer, and never evict."""
    app, warned = make(chosen), None
    thread = ThreadPoolExecutor(1, "broker")
    try:
        while True:
            seen = await broker.look(app, [], thread)
            if seen is not None:
                pulses.beat(BROKER, seen.fault)
                if seen.fault is not None and seen.fault != warned:
                    log.error("broker.forgets", fault=seen.fault)
                warned = seen.fault
            await asyncio.sleep(BROKER_SECONDS)
    finally:
        thread.shutdown(wait=False)


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """Cancel until all have ended: a statement that is cut off may answer with a fault of its own instead."""
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=STOP_SECONDS)
        if left:
            log.warning("control.slow_to_stop", loops=sorted(task.get_name() for task in left))


async def run(chosen: Settings) -> None:
    """Run all loops until SIGINT or SIGTERM."""
    db = platform.database(chosen, pool_size=8)
    publisher = publishing.open_publisher(chosen)
    limiter = Limiter(chosen.cache_url, chosen.ratelimit)
    desk = platform.desk(chosen, db, limiter)
    pulses = Pulses()
    tasks = [
        asyncio.create_task(_dispatchers(db, chosen, publisher, pulses), name="dispatchers"),
        *(
            asyncio.create_task(leadership.lead(name, db, work), name=name)
            for name, work in loops(desk, chosen, publisher, pulses).items()
        ),
        asyncio.create_task(
            telling(db, pulses, [*VITAL, *map(_shard, range(chosen.dispatch_shards))])
        ),
        asyncio.create_task(watching(chosen, pulses)),
    ]
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await stop.wait()
    await _end(tasks)
    publisher.close()
    await desk.close()
    await limiter.close()
    await db.close()


def main() -> None:
    """`python -m workers.control`."""
    chosen = settings.load()
    reporting.begin("control", chosen)
    uvloop.run(run(chosen))


if __name__ == "__main__":
    main()
