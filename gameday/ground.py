"""Ground of the drills: servers that may be killed, a stack on them, and a steady load with its promises.

The promises of each drill: whatever was answered 202 succeeds, no failure or loss is counted against it, no
call of a model is made twice, and the account agrees with its ledger and its lines.
"""

import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from app.embedded import postgres, valkey
from bench.ground import console
from migrations import run as migrations
from tests.fakes import provider
from tests.fakes.provider import Answer, Provider
from tests.journeys.conftest import THREE_STEPS, Servers
from tests.stack import Stack, opened
from tests.waiting import until

CALL_SECONDS: Final = 0.3  # of the provider: a job of three calls is in flight for about a second
STEADY_SECONDS: Final = 4.0  # of load before anything breaks
PATIENCE_SECONDS: Final = 180.0


@dataclass(slots=True)
class Drill:
    """How one drill went. `detected_s`: until readiness was red; `recovered_s`: from the repair until a job that
    came after it was done.
    """

    name: str
    ok: bool = False
    detected_s: float | None = None
    recovered_s: float | None = None
    why: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    def line(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


@dataclass(slots=True)
class Ground:
    """A stack, the servers under it, and the provider beside it."""

    stack: Stack
    servers: Servers
    fake: Provider


@asynccontextmanager
async def ground(
    answer: Answer, *, slots: int = 50, settings: dict[str, str] | None = None
) -> AsyncIterator[Ground]:
    """Postgres, Valkey, a provider and the processes; gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="tp-"))
    folder.chmod(0o755)
    # In this thread: a server ends with the thread that started it.
    servers = Servers(folder, postgres.start(folder / "pg"), valkey.start(folder / "vk"))
    logs = folder / "logs"
    logs.mkdir()
    try:
        migrations.up(servers.database.owner_url)
        async with (
            provider.serving(otherwise=answer) as fake,
            opened(
                superuser_url=servers.database.superuser_url, app_url=servers.database.app_url,
                broker_url=servers.broker.broker(0), folder=logs, provider_url=fake.base_url,
                slots=slots,
                settings={"TOWPATH_CACHE_URL": servers.broker.database(1)} | (settings or {}),
            ) as stack,
        ):  # fmt: skip
            await stack.push(THREE_STEPS)
            yield Ground(stack, servers, fake)
    finally:
        with contextlib.suppress(OSError):
            servers.broker.stop()
        servers.database.stop()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(slots=True)
class Load:
    """A client that posts jobs at a steady pace, each under its own key until it is answered 202."""

    stack: Stack
    per_second: float
    admitted: list[str] = field(default_factory=list)
    refused: int = 0
    slowest_s: float = 0.0
    stopped: bool = False

    async def run(self) -> None:
        """Post until stopped."""
        async with asyncio.TaskGroup() as group:
            number = 0
            while not self.stopped:
                number += 1
                group.create_task(self._post(f"{id(self)}-{number}"))
                await asyncio.sleep(1 / self.per_second)

    async def _post(self, key: str) -> None:
        began = time.monotonic()
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                status, body = await self.stack.call(
                    "POST", "/v1/jobs", json={"workflow": "three_steps", "input": {}},
                    headers={"Idempotency-Key": key},
                )  # fmt: skip
                if status == 202:
                    self.admitted.append(body["id"])
                    self.slowest_s = max(self.slowest_s, time.monotonic() - began)
                    return
            self.refused += 1
            await asyncio.sleep(0.5)


Fault = Callable[[Ground], Awaitable[None]]


async def drill(
    name: str, at: Ground, fault: Fault, mend: Fault | None = None, *, lasts: float = 0.0,
    per_second: float = 5.0,
) -> Drill:  # fmt: skip
    """Put the stack under load, break it, mend it after so many seconds, and hold it to the promises."""
    done = Drill(name)
    at.fake.asked.clear()
    load = Load(at.stack, per_second)
    columns = (TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(f"{name}: load")
        loading = asyncio.create_task(load.run())
        await asyncio.sleep(STEADY_SECONDS)
        bar.update(task, description=f"{name}: broken")
        broken = time.monotonic()
        watching = asyncio.create_task(_red(at.stack, broken))
        await fault(at)
        await asyncio.sleep(max(0.0, lasts - (time.monotonic() - broken)))
        if mend is not None:
            await mend(at)
        bar.update(task, description=f"{name}: mended")
        mended = time.monotonic()
        try:
            done.recovered_s = round(await _served(at.stack) - mended, 2)
            await asyncio.sleep(1.0)
            load.stopped = True
            await loading
            bar.update(task, description=f"{name}: drains {len(load.admitted)} jobs")
            await until(lambda: _drained(at.stack), seconds=PATIENCE_SECONDS, what="all has ended")
            done.figures["drained_s"] = round(time.monotonic() - mended, 1)
            done.why = await _broken_promise(at, load)
        except AssertionError as late:
            done.why = str(late)
        finally:
            load.stopped = True
            watching.cancel()
            [found] = await asyncio.gather(watching, return_exceptions=True)
            done.detected_s = round(found, 1) if isinstance(found, float) else None
    await asyncio.gather(loading, return_exceptions=True)
    done.ok = not done.why
    done.figures |= {"jobs": len(load.admitted), "refused": load.refused, "slowest_admission_s": round(load.slowest_s, 2)}  # fmt: skip
    return done


async def _red(stack: Stack, since: float) -> float:
    """Seconds until readiness is red."""
    while True:
        with contextlib.suppress(aiohttp.ClientError):
            status, _ = await stack.call("GET", "/readyz")
            if status == 503:
                return time.monotonic() - since
        await asyncio.sleep(0.25)


async def _served(stack: Stack) -> float:
    """When a job that is posted now is done."""

    async def admitted() -> str | None:
        with contextlib.suppress(aiohttp.ClientError):
            body = {"workflow": "three_steps", "input": {}, "priority": 9}
            status, job = await stack.call("POST", "/v1/jobs", json=body)
            return str(job["id"]) if status == 202 else None
        return None

    job = await until(admitted, seconds=PATIENCE_SECONDS, what="a job is admitted")
    await stack.ended(job, seconds=PATIENCE_SECONDS)
    return time.monotonic()


async def _drained(stack: Stack) -> bool:
    await asyncio.sleep(0.2)
    open_jobs = await stack.value("SELECT count(*) FROM job WHERE finished_at IS NULL")
    return bool(open_jobs == 0)


async def _broken_promise(at: Ground, load: Load) -> str:
    """What was not kept, in words; empty where all was."""
    stack = at.stack
    [jobs] = await stack.rows(
        "SELECT count(*) FILTER (WHERE state <> 'succeeded') AS unhappy,"
        "       sum(failures + losses + interruptions) AS counted, count(*) AS all FROM job"
    )
    twice = {key: times for key, times in at.fake.calls.items() if times > 1}
    [money] = await stack.rows(
        "SELECT (SELECT sum(held_nanousd) FROM budget_account WHERE kind = 'tenant') AS held,"
        "       (SELECT sum(spent_nanousd) FROM budget_account WHERE kind = 'tenant') AS spent,"
        "       (SELECT sum(cost_nanousd) FROM usage_line) AS metered"
    )
    raw = [await stack.raw(job) for job in load.admitted]
    found = await stack.value("SELECT count(*) FROM job WHERE id = ANY(%s)", raw)
    faults = {
        f"{len(raw) - found} admitted jobs are gone": found != len(raw),
        f"{jobs['unhappy']} jobs have not succeeded": jobs["unhappy"] > 0,
        f"{jobs['counted']} failures or losses were counted": jobs["counted"] > 0,
        f"{len(twice)} calls were made twice": bool(twice),
        f"money does not agree: {money}": money["held"] != 0 or money["spent"] != money["metered"],
    }
    return "; ".join(text for text, broken in faults.items() if broken)
