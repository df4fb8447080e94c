"""The time that a step may take. One that doesn't end when it is told to is left behind."""

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

import structlog

from app.execution.errors import StepTimedOut

log = structlog.get_logger()

LEAVE_SECONDS: Final = 2.0  # what a cancelled step may take to close its call and its hold

Got = TypeVar("Got")


async def bounded(work: Coroutine[Any, Any, Got], name: str, seconds: float | None) -> Got:
    """The result of a step. Raises StepTimedOut where it takes longer; None: it may take as long as it takes.

    A step that is cancelled and goes on all the same (a tool that swallows the cancellation, a computation
    in a thread) is left behind: its attempt ends, and the fence refuses whatever it writes later.
    """
    task = asyncio.create_task(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        await _leave(task, name)
        raise
    if done:
        return task.result()
    await _leave(task, name)
    raise StepTimedOut(f"{name} took longer than {seconds:g} s.", step=name)


async def _leave(task: "asyncio.Task[Any]", name: str) -> None:
    task.cancel()
    await asyncio.wait({task}, timeout=LEAVE_SECONDS)
    if task.done():
        _heed(task)
    else:
        log.error("step.left_behind", step=name)
        task.add_done_callback(_heed)


def _heed(task: "asyncio.Task[Any]") -> None:
    if not task.cancelled():
        task.exception()  # asked for: else asyncio complains that nobody did
