"""The parts of this worker process: opened in the pool's loop, closed in it, one set a process."""

import asyncio
from collections.abc import Callable
from typing import Any

from app.bootstrap import settings, worker
from app.bootstrap.worker import WorkerPlatform
from app.execution import heartbeat
from workers import hearing

_parts: WorkerPlatform | None = None
_living: list[asyncio.Task[None]] = []  # the heart and the ear


def parts() -> WorkerPlatform:
    """What tasks work with. There only while the pool runs."""
    if _parts is None:
        raise RuntimeError("the worker's parts are not open")
    return _parts


async def open_process(app: Any, load: Callable[[], hearing.Load]) -> None:
    """Open the platform for a worker, and begin to beat: from here on dispatch counts its slots.

    `app` is the Celery app, `load` says what the pool has taken in.
    """
    global _parts  # noqa: PLW0603 - one process, one set; nothing is built at import
    chosen = settings.load()
    _parts = await worker.open_worker(chosen)
    # Celery's concurrency is larger, by the room for deliveries: dispatch counts jobs' slots alone.
    lanes, slots = chosen.worker.lanes, chosen.execution.slots
    runtime, grace = _parts.runtime, chosen.leases.stop_grace.total_seconds() + 5
    _living.extend(
        [
            asyncio.create_task(heartbeat.run(runtime, lanes, slots)),
            asyncio.create_task(hearing.watch(app, runtime.holdings, load, grace)),
        ]
    )


async def stop_process() -> None:
    """A shutdown has begun: no new step starts; what still runs after the grace is interrupted."""
    runtime = parts().runtime
    runtime.holdings.stopping = True
    loop = asyncio.get_running_loop()
    grace = runtime.leases.stop_grace.total_seconds()
    loop.call_later(grace, _interrupt)


def _interrupt() -> None:
    if _parts is not None:
        for lease in list(_parts.runtime.holdings.leases.values()):
            lease.stop("stopping")


async def close_process() -> None:
    """Say that no slots are left, stop the heart, close the platform."""
    global _parts  # noqa: PLW0603 - as above
    for task in _living:
        task.cancel()
    await asyncio.gather(*_living, return_exceptions=True)
    _living.clear()
    if _parts is not None:
        await _parts.close()
    _parts = None
