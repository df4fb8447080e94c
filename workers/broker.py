"""A look at the broker over a fresh connection: whether it answers, what waits in it, whether it forgets.

What is asked for here is asked as seldom as every few seconds; a broker that is slow or away is an answer.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Final

from amqp.exceptions import ChannelError
from kombu.exceptions import KombuError
from redis.exceptions import RedisError

PATIENCE_SECONDS: Final = 2.0
KEEPS: Final = "noeviction"

_AWAY: Final = (KombuError, RedisError, OSError)


@dataclass(frozen=True, slots=True)
class Look:
    """What a broker that answers showed: messages in the queues asked for, and what is wrong with it."""

    waiting: int
    fault: str | None = None


async def look(app: Any, queues: Sequence[str], thread: Executor) -> Look | None:
    """Ask over a fresh connection. None where no answer comes in time."""
    return await asyncio.get_running_loop().run_in_executor(thread, _look, app, queues)


def _look(app: Any, queues: Sequence[str]) -> Look | None:
    patience = {"socket_timeout": PATIENCE_SECONDS, "socket_connect_timeout": PATIENCE_SECONDS}
    try:
        with app.connection(
            transport_options=patience, connect_timeout=PATIENCE_SECONDS
        ) as connection:
            connection.ensure_connection(
                max_retries=1, interval_start=0.2, timeout=PATIENCE_SECONDS
            )
            channel = connection.default_channel
            waiting = sum(_length(channel, queue) for queue in queues)
            return Look(waiting, _fault(connection, channel))
    except _AWAY:
        return None


def _length(channel: Any, queue: str) -> int:
    try:
        return int(channel.queue_declare(queue, passive=True).message_count)
    except ChannelError:  # Redis has no empty queue: it isn't there
        return 0


def _fault(connection: Any, channel: Any) -> str | None:
    if connection.transport.driver_type != "redis":
        return None
    policy = channel.client.info("memory").get("maxmemory_policy", KEEPS)
    return None if policy == KEEPS else f"it may evict messages: maxmemory-policy is {policy}"
