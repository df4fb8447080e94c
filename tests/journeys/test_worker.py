"""The worker's edge: its slots, messages that are wrong or come twice, and a broker that says no."""

import asyncio
from typing import Any

import redis
from celery import Celery

from app.core import ids
from tests.fakes.provider import Answer, Provider
from tests.journeys.conftest import Servers
from tests.stack import Stack
from tests.waiting import until
from workers.celery import queue_of


def send(servers: Servers, task: str, **arguments: Any) -> None:
    """A message straight into the standard lane's queue."""
    client = Celery(broker=servers.broker.broker(0))
    client.send_task(task, kwargs=arguments, queue=queue_of("standard"), ignore_result=True)
    client.close()


async def test_no_more_jobs_run_at_once_than_there_are_slots(stack: Stack, fake: Provider) -> None:
    await stack.stop("worker")
    stack.slots = 3
    await stack.start_worker(
        "worker", "--lanes", "standard"
    )  # shared lanes leave each other a slot
    fake.otherwise = Answer(held=True)
    jobs = [await stack.post_job("three_steps") for _ in range(8)]

    async def full() -> bool:
        return fake.open_calls == 3

    await until(full, what="three calls are in flight")
    states = await stack.rows("SELECT state, count(*) AS n FROM job GROUP BY state")
    counts = {row["state"]: row["n"] for row in states}
    assert counts["running"] == 3
    assert counts.get("dispatched", 0) == 0
    fake.otherwise = Answer()
    fake.released.set()
    fake.released = asyncio.Event()
    for job in jobs:
        assert (await stack.ended(job)).state == "succeeded"
    assert fake.most_open == 3


async def test_messages_that_are_wrong_or_come_twice_harm_nothing(
    stack: Stack, fake: Provider, servers: Servers
) -> None:
    """C014, C136: an unknown task, an unknown attempt, an extra field, the same message again."""
    fake.script = [Answer(held=True)]
    job = await stack.post_job("three_steps")

    async def in_flight() -> bool:
        return fake.open_calls == 1

    await until(in_flight, what="the first call is in flight")
    attempt = await stack.value("SELECT current_attempt FROM job")
    raw = ids.parse("job", job)
    known = [[str(raw), str(attempt)]]
    for _ in range(3):
        await asyncio.to_thread(send, servers, "towpath.jobs.run", attempts=known)
    stranger = [[str(ids.new()), str(ids.new())]]
    await asyncio.to_thread(send, servers, "towpath.jobs.run", attempts=stranger + known)
    await asyncio.to_thread(send, servers, "towpath.jobs.run", attempts=stranger, more="field")
    await asyncio.to_thread(send, servers, "towpath.jobs.unheard_of", a=1)
    fake.released.set()
    fake.released = asyncio.Event()
    end = await stack.ended(job)
    assert (end.state, end.attempts) == ("succeeded", ["succeeded"])
    later = await stack.post_job("three_steps")
    assert (await stack.ended(later)).attempts == ["succeeded"]
    assert set(fake.calls.values()) == {1}


async def test_a_broker_that_takes_no_writes_holds_jobs_up_and_fails_none(
    stack: Stack, fake: Provider, servers: Servers
) -> None:
    """C023: admission goes on, no attempt is spent, and all drain when the broker can write again."""
    broker = redis.Redis.from_url(servers.broker.database(0))
    broker.config_set("maxmemory", "1")
    jobs = [await stack.post_job("three_steps") for _ in range(5)]

    async def refused() -> bool:
        return bool(
            await stack.value("SELECT count(*) > 0 FROM attempt WHERE outcome = 'undelivered'")
        )

    await until(refused, what="the broker refuses")
    assert await stack.value("SELECT count(*) FROM job WHERE state = 'failed'") == 0
    broker.config_set("maxmemory", "0")
    broker.close()
    for job in jobs:
        assert (await stack.ended(job)).state == "succeeded"
    assert await stack.value("SELECT sum(failures + losses + interruptions) FROM job") == 0
    assert set(fake.calls.values()) == {1}


async def test_jobs_of_the_batch_lane_go_in_groups_and_each_ends_by_itself(
    stack: Stack, fake: Provider
) -> None:
    fake.script = [Answer(status=400)]
    items = [{"workflow": "three_steps", "input": {}, "lane": "batch"} for _ in range(12)]
    status, answer = await stack.call("POST", "/v1/jobs/bulk", json={"jobs": items})
    assert status == 207, answer
    jobs = [item["job"]["id"] for item in answer["data"]]
    ends = [await stack.ended(job) for job in jobs]
    assert sorted(end.state for end in ends) == ["failed", *["succeeded"] * 11]
    assert all(len(end.attempts) == 1 for end in ends)
