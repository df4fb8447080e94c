"""Publishing: ids into Celery's queues. What the broker refuses is an answer, not an exception."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from app.bootstrap.settings import Settings
from app.core.ids import DeliveryId
from app.jobs.transitions import Released
from workers import celery as celery_app

# No retry inside: what isn't published now goes back to the queue, where it is safe.
_ONCE: Final[dict[str, Any]] = {"retry": False, "ignore_result": True}
_REFUSALS: Final = (OperationalError, RedisError, OSError)


@dataclass(frozen=True, slots=True)
class Publisher:
    """One producer in one thread: Celery's publishing is synchronous, the loops are not."""

    app: Any
    thread: ThreadPoolExecutor

    async def attempts(self, lane: str, items: Sequence[Released]) -> list[Released]:
        """Publish attempts to their lane. Gives those the broker did not take."""
        if not items:
            return []
        refused: list[Released] = await self._run(self._attempts, lane, items)
        return refused

    async def deliveries(self, items: Sequence[DeliveryId]) -> None:
        """Publish deliveries. One that is lost here comes back when its lease is over."""
        if items:
            await self._run(self._deliveries, items)

    async def _run(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.thread, work, *arguments)

    def _attempts(self, lane: str, items: Sequence[Released]) -> list[Released]:
        queue = celery_app.queue_of(lane)
        for place, item in enumerate(items):
            body = {"job": str(item.job), "attempt": str(item.attempt)}
            try:
                with self.app.producer_pool.acquire(block=True) as producer:
                    self.app.send_task(
                        "towpath.jobs.run", kwargs=body, queue=queue, producer=producer,
                        task_id=str(item.attempt), **_ONCE,
                    )  # fmt: skip
            except _REFUSALS:
                return list(items[place:])
        return []

    def _deliveries(self, items: Sequence[DeliveryId]) -> None:
        for item in items:
            try:
                self.app.send_task(
                    "towpath.webhooks.deliver",
                    kwargs={"delivery": str(item)},
                    queue=celery_app.WEBHOOKS,
                    **_ONCE,
                )
            except _REFUSALS:
                return

    def close(self) -> None:
        """End the thread and its connections."""
        self.thread.shutdown(wait=True)
        self.app.close()


def open_publisher(chosen: Settings) -> Publisher:
    """A publisher on the broker of these settings."""
    return Publisher(celery_app.make(chosen), ThreadPoolExecutor(1, "publisher"))
