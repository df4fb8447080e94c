"""What a process may know for a moment: looked up once for all who ask together, then believed a while."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")

HELD: Final = 10_000  # keys; the oldest look goes first


class Recent(Generic[Key, Value]):
    """Answers of `look`, each believed for `known_for` from the moment the look began.

    Without it every request that arrives when an answer has grown old would look for itself.
    """

    def __init__(
        self,
        look: Callable[[Key], Coroutine[Any, Any, Value]],
        known_for: timedelta,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look = look
        self._seconds = known_for.total_seconds()
        self._clock = clock
        self._held: dict[Key, tuple[float, asyncio.Task[Value]]] = {}

    async def get(self, key: Key) -> Value:
        """The answer. What the look raises is raised to all who wait for it, and not believed."""
        now = self._clock()
        held = self._held.get(key)
        if held is None or now - held[0] >= self._seconds:
            held = self._begin(key, now)
        task = held[1]
        # A caller that is cancelled must not take the look from the others.
        return task.result() if task.done() else await asyncio.shield(task)

    def _begin(self, key: Key, now: float) -> tuple[float, asyncio.Task[Value]]:
        task = asyncio.create_task(self._look(key))
        begun = now, task

        def ended(task: asyncio.Task[Value]) -> None:
            failed = task.cancelled() or task.exception() is not None
            if failed and self._held.get(key) is begun:
                del self._held[key]

        self._held.pop(key, None)  # to the end of the order
        self._held[key] = begun
        task.add_done_callback(ended)
        if len(self._held) > HELD:
            del self._held[next(iter(self._held))]
        return begun
