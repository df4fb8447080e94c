"""Publishing: ids into Celery's queues. What the broker refuses is an answer, not an exception."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from kombu.exceptions import KombuError
from redis.exceptions import RedisError

from app.bootstrap.settings import Settings
from app.core.ids import DeliveryId
from app.jobs.transitions import Released
from workers import celery as celery_app

# No retry inside: what isn't published now goes back to the queue, where it is safe.
_ONCE: Final[dict[str, Any]] = {"retry": False, "ignore_result": True}
_REFUSALS: Final = (KombuError, RedisError, OSError)


@dataclass(frozen=True, slots=True)
class Publisher:
    """One producer in one thread: Celery's publishing is synchronous, the loops are not."""

    app: Any
    thread: ThreadPoolExecutor

    async def attempts(self, lane: str, groups: Sequence[Sequence[Released]]) -> list[Released]:
        """Publish groups of attempts to their lane, a message each. Gives the attempts the broker did not take."""
        if not groups:
            return []
        refused: list[Released] = await self._run(self._attempts, lane, groups)
        return refused

    async def deliveries(self, items: Sequence[DeliveryId]) -> None:
        """Publish deliveries. One that is lost here comes back when its lease is over."""
        if items:
            await self._run(self._deliveries, items)

    async def _run(self, work: Any, *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self.thread, work, *arguments)

    def _attempts(self, lane: str, groups: Sequence[Sequence[Released]]) -> list[Released]:
        # Named after its first attempt: Flower shows it, and it is no other message's.
        bodies = [
            (
                str(group[0].attempt),
                {"attempts": [[str(one.job), str(one.attempt)] for one in group]},
            )
            for group in groups
        ]
        if self._send("towpath.jobs.run", celery_app.queue_of(lane), bodies):
            return []
        # Where the broker took some messages, their attempts come back too: those will find nothing to claim.
        return [one for group in groups for one in group]

    def _deliveries(self, items: Sequence[DeliveryId]) -> None:
        bodies = [(None, {"delivery": str(item)}) for item in items]
        self._send("towpath.webhooks.deliver", celery_app.WEBHOOKS, bodies)

    def _send(
        self, task: str, queue: str, bodies: Sequence[tuple[str | None, dict[str, Any]]]
    ) -> bool:
        """One pipeline for all. False where the broker did not take them, or no answer came."""
        try:
            with self.app.producer_pool.acquire(block=True) as producer, producer.batch():
                for task_id, body in bodies:
                    self.app.send_task(
                        task, kwargs=body, queue=queue, producer=producer, task_id=task_id, **_ONCE
                    )
        except _REFUSALS:
            return False
        return True

    def close(self) -> None:
        """End the thread and its connections."""
        self.thread.shutdown(wait=True)
        self.app.close()


def open_publisher(chosen: Settings) -> Publisher:
    """A publisher on the broker of these settings."""
    return Publisher(celery_app.make(chosen), ThreadPoolExecutor(1, "publisher"))
