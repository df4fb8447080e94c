"""The parts of this worker process: opened in the pool's loop, closed in it, one set a process."""

import asyncio
import contextlib

from app.bootstrap import settings, worker
from app.bootstrap.worker import WorkerPlatform
from app.execution import heartbeat

_parts: WorkerPlatform | None = None
_heart: asyncio.Task[None] | None = None


def parts() -> WorkerPlatform:
    """What tasks work with. There only while the pool runs."""
    if _parts is None:
        raise RuntimeError("the worker's parts are not open")
    return _parts


async def open_process() -> None:
    """Open the platform for a worker, and begin to beat: from here on dispatch counts its slots."""
    global _parts, _heart  # noqa: PLW0603 - one process, one set; nothing is built at import
    chosen = settings.load()
    _parts = await worker.open_worker(chosen)
    # Celery's concurrency is larger, by the room for deliveries: dispatch counts jobs' slots alone.
    lanes, slots = chosen.worker.lanes, chosen.execution.slots
    _heart = asyncio.create_task(heartbeat.run(_parts.runtime, lanes, slots))


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
    global _parts, _heart  # noqa: PLW0603 - as above
    if _heart is not None:
        _heart.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await _heart
    if _parts is not None:
        await _parts.close()
    _parts = _heart = None
