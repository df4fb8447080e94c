"""Celery's worker pool on asyncio: one event loop in one thread, every task an asyncio.Task.

Celery's own synchronous trace of a task runs in a greenlet; the task's body awaits with `await_only`.
A pool holds as many slots as its concurrency and takes one before a task is accepted, since with early
acknowledgement nothing else bounds what is in flight. A body that blocks the loop stops every task and
every heartbeat of the process: the watchdog names it.
"""

import asyncio
import itertools
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any, Final

import structlog
import uvloop
from celery.concurrency.base import BasePool, apply_target
from sqlalchemy.util.concurrency import greenlet_spawn
from typing_extensions import override

from app.core import garbage
from workers import hearing, process

log = structlog.get_logger()

SWITCH_SECONDS: Final = 0.0002
BLOCKED_SECONDS: Final = 1.0  # a heartbeat's time: from here on leases are at risk


class TaskPool(BasePool):
    """The pool. Soft limits are not offered: an attempt's deadline is its job's, kept by the heartbeat."""

    signal_safe = False  # stop outside of the signal handler
    body_can_be_buffer = True  # same process: no copy of the message body

    @override
    def on_start(self) -> None:
        """Start the loop's thread, open the process's parts in it, and watch it."""
        # Celery's thread and the loop's take turns at every socket call. At the interpreter's 5 ms a turn,
        # they wait for each other most of the time (bench drain: 60 jobs/s against several hundred).
        sys.setswitchinterval(SWITCH_SECONDS)
        self._ids = itertools.count(1)
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._terminated: set[int] = set()
        self._slots = asyncio.Semaphore(self.limit)
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="asyncio-pool", daemon=True
        )
        self._thread.start()
        self._watchdog = _Watchdog(self._loop, self._thread)
        self._watchdog.start()
        self._received = 0
        self._await(process.open_process(self.app, self._load))
        garbage.settle()

    @override
    def on_apply(
        self,
        target: Callable[..., Any],
        args: Any,
        kwargs: Any,
        callback: Callable[[Any], None] | None = None,
        accept_callback: Callable[[int, float], None] | None = None,
        timeout: float | None = None,
        timeout_callback: Callable[[bool, float], None] | None = None,
        **_: Any,
    ) -> None:
        """Hand a task to the loop. None as the answer: Celery then ends it by terminate_job alone."""
        self._loop.call_soon_threadsafe(
            self._spawn, target, args, kwargs, callback, accept_callback, timeout, timeout_callback
        )

    def _spawn(
        self,
        target: Callable[..., Any],
        args: Any,
        kwargs: Any,
        callback: Callable[[Any], None] | None,
        accept_callback: Callable[[int, float], None] | None,
        timeout: float | None,
        timeout_callback: Callable[[bool, float], None] | None,
    ) -> None:
        self._received += 1
        key = next(self._ids)  # what Celery shows as the process id of the task

        def report(result: Any) -> None:
            # Celery has been told of a terminated task already; a second outcome would be one too many.
            if key not in self._terminated and callback is not None:
                callback(result)

        def limit(seconds: float) -> None:
            if timeout_callback is not None:
                timeout_callback(False, seconds)
            self._terminate(key)

        async def run() -> None:
            async with self._slots:
                timer = self._loop.call_later(timeout, limit, timeout) if timeout else None
                try:
                    if accept_callback is not None:
                        accept_callback(key, time.monotonic())
                    await greenlet_spawn(_guard, target, args, kwargs, report)
                finally:
                    if timer is not None:
                        timer.cancel()

        task = self._tasks[key] = self._loop.create_task(run(), name=f"celery-{key}")
        task.add_done_callback(lambda done: self._finished(key, done))

    def _load(self) -> hearing.Load:
        return hearing.Load(self._received, self.limit - len(self._tasks))

    def _finished(self, key: int, task: "asyncio.Task[None]") -> None:
        del self._tasks[key]
        self._terminated.discard(key)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("pool.task_failed", exc_info=error)

    def _terminate(self, key: int) -> None:
        task = self._tasks.get(key)
        if task is not None:
            self._terminated.add(key)
            task.cancel()

    @override
    def terminate_job(self, pid: int, signal: Any = None) -> None:
        """Cancel one task: its `finally` blocks run."""
        self._loop.call_soon_threadsafe(self._terminate, pid)

    def _await(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _drain(self, *, cancel: bool) -> None:
        while tasks := list(self._tasks.values()):
            for task in tasks if cancel else ():
                task.cancel()
            await asyncio.wait(tasks)

    def _close(self, *, cancel: bool) -> None:
        if not self._loop.is_running():
            return
        self._await(process.stop_process())
        self._await(self._drain(cancel=cancel))
        self._await(process.close_process())
        self._watchdog.stop()
        self._loop.call_soon_threadsafe(self._loop.stop)

    @override
    def on_stop(self) -> None:
        """Warm shutdown: attempts end after the step they are in."""
        self._close(cancel=False)

    @override
    def on_terminate(self) -> None:
        """Cold shutdown: attempts are interrupted where they are."""
        self._close(cancel=True)

    def grow(self, n: int = 1) -> None:
        """Give the pool more slots."""
        self.limit += n
        for _ in range(n):
            self._loop.call_soon_threadsafe(self._slots.release)

    def shrink(self, n: int = 1) -> None:
        """Take slots away as they get free."""
        self.limit -= n
        for _ in range(n):
            asyncio.run_coroutine_threadsafe(self._slots.acquire(), self._loop)

    def _get_info(self) -> dict[str, Any]:
        known: dict[str, Any] = super()._get_info()  # type: ignore[misc]  # celery-types misses it
        return known | {"running": len(self._tasks)}


def _guard(
    target: Callable[..., Any], args: Any, kwargs: Any, callback: Callable[[Any], None]
) -> None:
    apply_target(target, args, kwargs, callback, propagate=(asyncio.CancelledError,))


class _Watchdog(threading.Thread):
    """Asks the loop for a sign of life; where none comes, logs what the loop's thread is doing."""

    def __init__(self, loop: asyncio.AbstractEventLoop, watched: threading.Thread) -> None:
        super().__init__(name="asyncio-pool-watchdog", daemon=True)
        self._loop = loop
        self._watched = watched
        self._stopped = threading.Event()

    @override
    def run(self) -> None:
        while not self._stopped.wait(BLOCKED_SECONDS):
            alive = threading.Event()
            self._loop.call_soon_threadsafe(alive.set)
            if not alive.wait(BLOCKED_SECONDS):
                frame = sys._current_frames().get(self._watched.ident or 0)  # noqa: SLF001 - its only form
                stack = "".join(traceback.format_stack(frame)[-6:]) if frame is not None else ""
                log.error("loop.blocked", seconds=BLOCKED_SECONDS, stack=stack)
                alive.wait()  # once a block, not once a second

    def stop(self) -> None:
        """End the watch."""
        self._stopped.set()
