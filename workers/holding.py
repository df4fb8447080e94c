"""A worker that an operator holds: it leaves its queues, and joins them again when it is let go."""

from typing import Any, Final

import structlog
from celery import bootsteps
from typing_extensions import override

from workers import process

log = structlog.get_logger()

LOOK_SECONDS: Final = 0.25


class Held(bootsteps.StartStopStep):
    """Follows what the heartbeat heard, in the consumer's own thread: its queues may be touched there alone.

    A message that was popped while a queue was being left goes back to it; what was taken before runs.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, c: Any, **options: Any) -> None:
        super().__init__(c, **options)
        self._left: list[str] = []

    @override
    def start(self, c: Any) -> None:
        """Begin to look; also after the broker was away."""
        self._look = c.timer.call_repeatedly(LOOK_SECONDS, self._follow, (c,))

    @override
    def stop(self, c: Any) -> None:
        """The connection is gone or going."""
        self._look.cancel()

    def _follow(self, c: Any) -> None:
        held = process.parts().runtime.holdings.held
        if held and not self._left:
            self._left = list(c.app.amqp.queues.consume_from)
            for queue in self._left:
                c.cancel_task_queue(queue)
            log.info("worker.held", queues=self._left)
        elif self._left and not held:
            for queue in self._left:
                c.add_task_queue(queue)
            log.info("worker.let_go", queues=self._left)
            self._left = []
