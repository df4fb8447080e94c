"""The broker under load: emptied, its messages taken away, restarted, stopped, full; and the database restarted."""

import asyncio
import os
import signal
from typing import Final

import redis

from gameday.ground import CALL_SECONDS, Drill, Ground, drill, ground
from tests.fakes.provider import Answer
from workers.celery import queue_of

OUTAGE_SECONDS: Final = 30.0


async def run() -> list[Drill]:
    """Each drill in turn, on one stack."""
    async with ground(Answer(seconds=CALL_SECONDS)) as at:
        return [
            await drill("broker flushed", at, flushed),
            await drill("messages deleted", at, deleted, lasts=5.0),
            await drill("broker restarted empty", at, restarted),
            await drill("broker stopped 30 s", at, stopped, going_on, lasts=OUTAGE_SECONDS),
            await drill("broker full 30 s", at, full, emptied, lasts=OUTAGE_SECONDS),
            await drill("database restarted", at, database_restarted),
        ]


def _broker(at: Ground) -> "redis.Redis":
    return redis.Redis.from_url(at.servers.broker.database(0))


async def flushed(at: Ground) -> None:
    """Everything that the broker knows is gone, the rate limits too."""
    with _broker(at) as broker:
        broker.flushall()


async def deleted(at: Ground) -> None:
    """The lane's messages are taken away again and again, as they come."""
    with _broker(at) as broker:
        for _ in range(200):
            broker.delete(queue_of("standard"))
            await asyncio.sleep(0.02)


async def restarted(at: Ground) -> None:
    """Killed, and up again on an empty folder."""
    at.servers.broker.process.kill()
    at.servers.broker.process.wait()
    for path in sorted(at.servers.broker.folder.data.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    at.servers.restart_broker()


async def stopped(at: Ground) -> None:
    """It is there and answers nobody."""
    os.kill(at.servers.broker.process.pid, signal.SIGSTOP)


async def going_on(at: Ground) -> None:
    """It answers again."""
    os.kill(at.servers.broker.process.pid, signal.SIGCONT)


async def full(at: Ground) -> None:
    """It takes no writes."""
    with _broker(at) as broker:
        broker.config_set("maxmemory", "1mb")


async def emptied(at: Ground) -> None:
    """It takes writes again."""
    with _broker(at) as broker:
        broker.config_set("maxmemory", "0")


async def database_restarted(at: Ground) -> None:
    """An immediate shutdown, and up again."""
    at.servers.restart_database()
