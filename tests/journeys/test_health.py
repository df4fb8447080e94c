"""Health is progress: what stands still turns readiness red, and only a deaf worker leaves."""

import asyncio
import os
import signal
from typing import Any

import redis
from celery import Celery

from tests.journeys.conftest import Servers
from tests.stack import Stack
from tests.waiting import until
from workers import broker
from workers.celery import queue_of
from workers.hearing import DEAF, DEAF_LOOKS, Ear, Load

DETECTION_SECONDS = 15


async def standing(stack: Stack) -> set[str]:
    """What readiness misses."""
    status, body = await stack.call("GET", "/readyz")
    return set() if status == 200 else {one["part"] for one in body.get("parts", [])}


async def red(stack: Stack, part: str) -> None:
    """Return once readiness misses a part, which must be soon."""

    async def missed() -> bool:
        return part in await standing(stack)

    await until(missed, seconds=DETECTION_SECONDS, what=f"readiness misses {part}")
    assert (await stack.call("GET", "/readyz?part=api"))[0] == 200
    assert (await stack.call("GET", "/healthz"))[0] == 200


async def green(stack: Stack) -> None:
    async def well() -> bool:
        return await standing(stack) == set()

    await until(well, seconds=DETECTION_SECONDS, what="readiness is green")


def test_a_worker_is_deaf_only_where_messages_wait_slots_are_free_and_none_comes() -> None:
    waits, empty = broker.Look(3), broker.Look(0)
    ear = Ear()
    assert ear.judge(Load(5, 1), waits)
    for _ in range(DEAF_LOOKS):
        assert not ear.is_deaf
        ear.judge(Load(5, 1), waits)
    assert ear.is_deaf
    for load, seen in (
        (Load(6, 1), waits),  # it receives
        (Load(6, 0), waits),  # it is full
        (Load(6, 1), empty),  # there is nothing
    ):
        assert ear.judge(load, seen)
        assert not ear.is_deaf
    assert not ear.judge(Load(6, 1), None)  # the broker is away: not the worker's fault
    assert not ear.is_deaf


async def test_a_worker_that_receives_nothing_leaves_and_what_waited_is_done(
    stack: Stack, servers: Servers
) -> None:
    """C016"""
    await stack.ended(await stack.post_job("three_steps"))
    await green(stack)
    deaf = stack.processes["worker"]
    app = Celery(broker=servers.broker.broker(0))
    # Connected and alive, but it asks for no message of this lane any more.
    await asyncio.to_thread(app.control.cancel_consumer, queue_of("standard"))
    app.close()
    jobs = [await stack.post_job("three_steps") for _ in range(5)]
    await red(stack, "workers")
    assert await asyncio.to_thread(deaf.wait, 30) == DEAF
    await stack.start_worker("second")
    for job in jobs:
        assert (await stack.ended(job)).state == "succeeded"
    await green(stack)


async def test_a_broker_that_hangs_turns_readiness_red_and_nothing_leaves(
    stack: Stack, servers: Servers
) -> None:
    """C016, C137, C140: connections reset, then no answer; and a broker that may evict."""
    await stack.ended(await stack.post_job("three_steps"))
    await green(stack)
    with redis.Redis.from_url(servers.broker.database(0)) as admin:
        admin.config_set("maxmemory-policy", "allkeys-lru")
        await red(stack, "broker")
        admin.config_set("maxmemory-policy", "noeviction")
        for _ in range(5):
            for kind in ("normal", "pubsub"):
                admin.execute_command("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
    before = {name: process.pid for name, process in stack.processes.items()}
    os.kill(servers.broker.process.pid, signal.SIGSTOP)
    await red(stack, "broker")
    jobs: list[Any] = [await stack.post_job("three_steps") for _ in range(50)]
    os.kill(servers.broker.process.pid, signal.SIGCONT)
    for job in jobs:
        assert (await stack.ended(job, seconds=15)).state == "succeeded"
    await green(stack)
    assert {name: one.pid for name, one in stack.processes.items() if one.poll() is None} == before


async def test_a_frozen_control_process_is_missed(stack: Stack) -> None:
    await stack.ended(await stack.post_job("three_steps"))
    await green(stack)
    frozen = stack.processes["control"].pid
    os.killpg(frozen, signal.SIGSTOP)
    await red(stack, "sealer")
    assert {"dispatcher.0", "sealer", "relay"} <= await standing(stack)
    os.killpg(frozen, signal.SIGCONT)
    await green(stack)
