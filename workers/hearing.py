"""Whether this worker still receives: messages wait for it, slots are free, and none comes in.

Such a worker is connected and alive, and no restart of the broker or the database will help it: it leaves with
a status of its own, and its supervisor starts another. Where the broker doesn't answer a fresh connection the
fault is not the worker's: it stays, says in its heartbeat that it hears nothing, and waits.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog
from celery.worker import state

from app.attempts.leases import Holdings
from workers import broker

log = structlog.get_logger()

LOOK_SECONDS: Final = 2.0
DEAF_LOOKS: Final = (
    4  # in a row: a message may wait for a moment where all of a lane's workers are quick
)
DEAF: Final = 75  # the exit status: EX_TEMPFAIL, start me again


@dataclass(frozen=True, slots=True)
class Load:
    """What the pool has taken in since it started, and how many tasks it could take now."""

    received: int
    free: int


@dataclass(slots=True)
class Ear:
    """What is known of this worker's hearing."""

    received: int = -1
    deaf_looks: int = 0

    def judge(self, load: Load, seen: broker.Look | None) -> bool:
        """Whether the worker hears, after one more look at the broker."""
        idle = load.received == self.received and load.free > 0
        self.received = load.received
        if seen is None or not idle or seen.waiting == 0:
            self.deaf_looks = 0
            return seen is not None
        self.deaf_looks += 1
        return self.deaf_looks == 1

    @property
    def is_deaf(self) -> bool:
        """Whether nothing but a new process will help."""
        return self.deaf_looks >= DEAF_LOOKS


async def watch(app: Any, holdings: Holdings, load: Callable[[], Load], grace: float) -> None:
    """Look until cancelled; leave when deaf. `grace` is how long a stop may take, in seconds."""
    queues = list(app.amqp.queues.consume_from)  # what it was started for
    ear = Ear()
    thread = ThreadPoolExecutor(1, "hearing")
    try:
        while not holdings.stopping:
            seen = await broker.look(app, queues, thread)
            if seen is not None and holdings.held:
                seen = replace(seen, waiting=0)  # an operator holds it: what waits is not for it
            holdings.hears = ear.judge(load(), seen)
            if ear.is_deaf:
                _leave(grace)
                return
            await asyncio.sleep(LOOK_SECONDS)
    finally:
        thread.shutdown(wait=False)


def _leave(grace: float) -> None:
    log.error("worker.deaf", seconds=DEAF_LOOKS * LOOK_SECONDS, exit_status=DEAF)
    # Celery's own way out: the steps in hand are finished or handed back.
    state.should_stop = DEAF  # type: ignore[assignment]  # its None is all that celery-types knows
    # What is stuck may not come to look at that.
    last = threading.Timer(grace, os._exit, [DEAF])
    last.daemon = True
    last.start()
