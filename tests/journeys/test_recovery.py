"""What dies is missed: every process killed in the middle of work, and nothing lost, doubled or unpaid."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import redis
from standardwebhooks import Webhook

from app.cli import quarantine
from app.cli.family import Family
from app.core import money
from app.embedded import servers as embedded
from app.jobs import endings
from tests.fakes.provider import Answer, Provider
from tests.fakes.receiver import Receiver
from tests.journeys.conftest import THREE_STEPS, Servers
from tests.stack import Ended, Stack
from tests.waiting import until


async def endpoint(stack: Stack, hooks: Receiver) -> str:
    """A webhook endpoint at the receiver. Gives its secret."""
    body = {"url": hooks.url, "events": ["*"]}
    status, made = await stack.call("POST", "/v1/webhook_endpoints", json=body)
    assert status == 201, made
    return str(made["secret"])


async def told(hooks: Receiver, times: int = 1) -> list[dict[str, Any]]:
    """The bodies that the receiver got, once there are so many."""

    async def enough() -> bool:
        return len(hooks.got) >= times

    await until(enough, what=f"{times} webhooks arrive")
    return [json.loads(got.body) for got in hooks.got]


async def in_step(fake: Provider, calls: int) -> None:
    """Return once the provider holds the latest of so many calls."""

    async def held() -> bool:
        return len(fake.asked) == calls and fake.open_calls == 1

    await until(held, what=f"call {calls} is in flight")


def let_go(fake: Provider) -> None:
    fake.released.set()
    fake.released = asyncio.Event()


async def balanced(stack: Stack) -> dict[str, Any]:
    """The money of the tenant's account; asserts that account, ledger, holds and lines agree."""
    [account] = await stack.rows("SELECT * FROM budget_account WHERE kind = 'tenant'")
    [entries] = await stack.rows(
        "SELECT sum(held_nanousd) AS held, sum(spent_nanousd) AS spent FROM ledger_entry WHERE account = %s",
        account["id"],
    )
    [lines] = await stack.rows("SELECT coalesce(sum(cost_nanousd), 0) AS cost FROM usage_line")
    assert account["held_nanousd"] == entries["held"] == 0
    assert account["spent_nanousd"] == entries["spent"] == lines["cost"]
    return account


async def test_the_whole_path_ends_with_a_signed_webhook_and_money_that_adds_up(
    stack: Stack, fake: Provider, hooks: Receiver
) -> None:
    secret = await endpoint(stack, hooks)
    job = await stack.post_job("three_steps", key="order-7", metadata={"order": "7"})
    again = await stack.post_job("three_steps", key="order-7", metadata={"order": "7"})
    assert again == job
    end = await stack.ended(job)
    assert (end.state, end.output) == ("succeeded", {"last": "say third"})
    assert end.attempts == ["succeeded"]
    assert end.steps == {"first": 1, "second": 1, "third": 1}
    assert list(fake.calls.values()) == [1, 1, 1]
    [body] = await told(hooks)
    assert body["type"] == "job.succeeded"
    assert body["data"]["id"] == job
    verified = Webhook(secret).verify(hooks.got[0].body, hooks.got[0].headers)
    assert verified == body
    account = await balanced(stack)
    assert account["spent_nanousd"] > 0
    _, view = await stack.call("GET", f"/v1/jobs/{job}")
    assert view["usage"]["cost"] == money.to_wire(account["spent_nanousd"])
    assert view["usage"]["model_calls"] == 3


async def test_a_killed_worker_costs_a_retry_and_no_finished_step(
    stack: Stack, fake: Provider, hooks: Receiver
) -> None:
    """C024: the interrupted call is settled at its hold, unconfirmed; the finished one is never bought again."""
    await endpoint(stack, hooks)
    fake.script = [Answer(), Answer(held=True)]
    job = await stack.post_job("three_steps")
    await in_step(fake, 2)
    stack.kill("worker")
    let_go(fake)
    await stack.start_worker()
    end = await stack.ended(job)
    assert (end.state, end.attempts) == ("succeeded", ["lost", "succeeded"])
    assert end.steps == {"first": 1, "second": 1, "third": 1}
    assert sorted(fake.calls.values()) == [1, 1, 2]
    lines = await stack.rows("SELECT step, unconfirmed FROM usage_line ORDER BY at, id")
    assert sorted((line["step"], line["unconfirmed"]) for line in lines) == [
        ("first", False), ("second", False), ("second", True), ("third", False),
    ]  # fmt: skip
    [hold] = await stack.rows(
        "SELECT asked_nanousd, cost_nanousd FROM reservation WHERE unconfirmed"
    )
    assert hold["asked_nanousd"] == hold["cost_nanousd"]
    await balanced(stack)
    bodies = await told(hooks)
    assert [body["type"] for body in bodies] == ["job.succeeded"]


async def test_a_call_answered_just_before_the_crash_is_not_bought_again(
    stack: Stack, fake: Provider
) -> None:
    """C036: killed between a step's settlement, or checkpoint, and the next step."""
    fake.script = [Answer(), Answer(), Answer(held=True)]
    job = await stack.post_job("three_steps")
    await in_step(fake, 3)
    stack.kill("worker")
    let_go(fake)
    await stack.start_worker()
    end = await stack.ended(job)
    assert (end.state, end.attempts) == ("succeeded", ["lost", "succeeded"])
    assert sorted(fake.calls.values()) == [1, 1, 2]
    await balanced(stack)


async def test_a_stopping_worker_hands_its_job_back_at_no_attempts_cost(
    stack: Stack, fake: Provider
) -> None:
    fake.script = [Answer(held=True)]
    job = await stack.post_job("three_steps")
    await in_step(fake, 1)
    stack.processes["worker"].send_signal(signal.SIGTERM)

    async def stopping() -> bool:
        return bool(await stack.value("SELECT count(*) FROM worker WHERE stopping_at IS NOT NULL"))

    await until(stopping, what="the worker says that it stops")
    let_go(fake)  # the step in hand is finished and recorded, the next is not begun
    assert await stack.stop("worker") == 0
    await stack.start_worker()
    end = await stack.ended(job)
    assert (end.state, end.attempts) == ("succeeded", ["interrupted", "succeeded"])
    assert list(fake.calls.values()) == [1, 1, 1]
    # The checkpoints of the second attempt have cleared the interruption.
    assert await stack.value("SELECT failures + losses + interruptions FROM job") == 0
    await balanced(stack)


async def test_a_frozen_worker_is_replaced_and_finishes_nothing_when_it_wakes(
    stack: Stack, fake: Provider, hooks: Receiver
) -> None:
    """C028"""
    await endpoint(stack, hooks)
    fake.script = [Answer(held=True)]
    job = await stack.post_job("three_steps")
    await in_step(fake, 1)
    frozen = stack.processes["worker"]
    os.killpg(frozen.pid, signal.SIGSTOP)
    await stack.start_worker("second")
    end = await stack.ended(job)
    assert (end.state, end.attempts) == ("succeeded", ["lost", "succeeded"])
    os.killpg(frozen.pid, signal.SIGCONT)

    async def let_go_of() -> bool:
        return fake.open_calls == 0

    await until(let_go_of, what="the woken worker drops its call")
    assert (await stack.ended(job)).attempts == ["lost", "succeeded"]
    await balanced(stack)
    assert [body["type"] for body in await told(hooks)] == ["job.succeeded"]


@asynccontextmanager
async def supervised(stack: Stack, folder: Path) -> AsyncIterator[Family]:
    """A worker once it is wanted, and one for quarantine while it is needed, started again when they die."""
    commands = {"worker": ["worker", "--slots", "50"], quarantine.NAME: ["quarantine"]}
    with (folder / "lock").open("wb", buffering=0) as lock:
        family = Family(
            embedded.Servers(folder), commands, stack.env, folder, lock, timedelta(seconds=15),
            sleeping=commands,
        )  # fmt: skip
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, family.look)
        url = stack.env["TOWPATH_DATABASE_URL"]
        tasks = [
            asyncio.create_task(family.watch()),
            asyncio.create_task(quarantine.keep(family, url)),
        ]
        try:
            yield family
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            loop.remove_signal_handler(signal.SIGCHLD)
            await asyncio.to_thread(family.end)


def claims(end: Ended) -> list[str]:
    """How the attempts ended that a worker took up: for a moment messages go to one that is dead."""
    return [outcome for outcome in end.attempts if outcome != "undelivered"]


async def kill_its_worker(stack: Stack, job: str, killed: set[int]) -> None:
    """Kill the process that runs a job, once one does that was not killed before."""
    raw = await stack.raw(job)

    async def running() -> int | None:
        rows = await stack.rows(
            "SELECT w.pid FROM job j JOIN attempt a ON a.id = j.current_attempt"
            " JOIN worker w ON w.id = a.worker WHERE j.id = %s AND j.state = 'running'",
            raw,
        )
        return next((row["pid"] for row in rows if row["pid"] not in killed), None)

    pid = await until(running, seconds=60, what="a worker runs the job")
    killed.add(pid)
    os.kill(pid, signal.SIGKILL)


async def test_a_poison_job_ends_alone_and_none_of_its_neighbours_with_it(
    stack: Stack, fake: Provider, tmp_path: Path
) -> None:
    """C025: whichever process runs it is killed. Beside others that blames nobody; alone it counts."""
    fake.otherwise = Answer(held=True)
    async with supervised(stack, tmp_path) as family:
        poison = await stack.post_job("three_steps", metadata={"poison": True})
        neighbours = [await stack.post_job("three_steps") for _ in range(20)]
        killed: set[int] = set()
        for _ in range(endings.TRUSTED_LOSSES + 1):

            async def all_in_flight() -> bool:
                return fake.open_calls == 21

            await until(all_in_flight, what="all are in flight")
            await kill_its_worker(stack, poison, killed)
            family.want("worker", True)

            async def dropped() -> bool:
                return fake.open_calls == 0

            let_go(fake)
            await until(dropped, what="the calls of the dead are over")
        fake.otherwise = Answer(seconds=0.1)
        for _ in range(endings.MAX_LOSSES):
            await kill_its_worker(stack, poison, killed)
        end = await stack.ended(poison)
        assert (end.state, claims(end)) == ("failed", ["lost"] * 5)
        assert end.error is not None
        assert end.error["code"] == "worker_lost"
        for job in neighbours:
            end = await stack.ended(job)
            assert end.state == "succeeded"
            assert claims(end) == ["lost", "lost", "parked", "succeeded"]
            assert end.steps == {"first": 1, "second": 1, "third": 1}
    sums = "SELECT sum(failures + interruptions) AS other, sum(losses) AS losses FROM job"
    assert await stack.rows(sums) == [{"other": 0, "losses": 3}]
    together = await stack.value(
        "SELECT count(*) FROM attempt a JOIN attempt b ON a.id < b.id AND a.worker = b.worker"
        " AND a.claimed_at < b.ended_at AND b.claimed_at < a.ended_at"
        " JOIN worker w ON w.id = a.worker WHERE w.lanes = '{quarantine}'"
    )
    assert together == 0
    await balanced(stack)


async def test_control_may_die_at_any_time_and_another_takes_the_lead(
    stack: Stack, fake: Provider
) -> None:
    """C022"""
    stack.start("control", as_name="standby")
    first = await stack.post_job("three_steps")
    assert (await stack.ended(first)).state == "succeeded"
    stack.kill("control")
    later = [await stack.post_job("three_steps") for _ in range(5)]
    for job in later:
        end = await stack.ended(job)
        assert (end.state, end.attempts) == ("succeeded", ["succeeded"])
    assert set(fake.calls.values()) == {1}


async def test_a_restart_of_the_database_kills_no_healthy_work(
    stack: Stack, fake: Provider, servers: Servers
) -> None:
    """C034"""
    fake.script = [Answer(), Answer(held=True)]
    job = await stack.post_job("three_steps")
    await in_step(fake, 2)
    servers.restart_database()
    let_go(fake)
    end = await stack.ended(job)
    assert (end.state, end.attempts) == ("succeeded", ["succeeded"])
    assert list(fake.calls.values()) == [1, 1, 1]
    await balanced(stack)
    later = await stack.post_job("three_steps")
    assert (await stack.ended(later)).state == "succeeded"


async def test_lost_messages_lose_no_work(stack: Stack, fake: Provider, servers: Servers) -> None:
    """C015: the broker forgets everything between dispatch and claim."""
    worker = stack.processes["worker"]
    os.killpg(
        worker.pid, signal.SIGSTOP
    )  # its slots still count for a moment: jobs are dispatched to no one
    jobs = [await stack.post_job("three_steps") for _ in range(10)]

    async def dispatched() -> bool:
        return bool(await stack.value("SELECT count(*) = 10 FROM job WHERE state = 'dispatched'"))

    await until(dispatched, what="all are dispatched")
    broker = redis.Redis.from_url(servers.broker.database(0))
    broker.flushall()
    broker.close()
    os.killpg(worker.pid, signal.SIGCONT)
    for job in jobs:
        end = await stack.ended(job)
        assert end.state == "succeeded"
        assert end.attempts[-1] == "succeeded"
    assert set(fake.calls.values()) == {1}
    assert await stack.value("SELECT sum(failures + losses + interruptions) FROM job") == 0


async def test_a_broker_that_restarts_empty_stops_nothing(
    stack: Stack, fake: Provider, servers: Servers
) -> None:
    """C015, C016: the worker listens again by itself."""
    before = await stack.post_job("three_steps")
    await stack.ended(before)
    servers.restart_broker()
    jobs = [await stack.post_job("three_steps") for _ in range(5)]
    for job in jobs:
        assert (await stack.ended(job)).state == "succeeded"
    assert set(fake.calls.values()) == {1}


async def test_cancelling_a_running_job_ends_its_call_and_settles_it(
    stack: Stack, fake: Provider
) -> None:
    """C031"""
    fake.script = [Answer(), Answer(held=True)]
    job = await stack.post_job("three_steps")
    await in_step(fake, 2)
    status, _ = await stack.call("POST", f"/v1/jobs/{job}/cancel")
    assert status == 202
    end = await stack.ended(job)
    assert (end.state, end.attempts) == ("cancelled", ["cancelled"])

    async def hung_up() -> bool:
        return fake.open_calls == 0

    await until(hung_up, what="the provider sees the hang-up")
    await balanced(stack)
    status, answer = await stack.call("POST", f"/v1/jobs/{job}/cancel")
    assert status in (202, 409), answer


async def test_a_provider_that_says_when_is_obeyed_and_the_slot_is_free_meanwhile(
    stack: Stack, fake: Provider
) -> None:
    """C050: parked as `waiting` for a back-off; the next call leaves after what the provider asked."""
    fake.script = [
        Answer(status=429, headers={"Retry-After": "4"}, body={"error": {"message": "slow"}})
    ]
    job = await stack.post_job("three_steps")

    async def parked() -> bool:
        _, view = await stack.call("GET", f"/v1/jobs/{job}")
        return bool(view["status"] == "waiting" and view["waiting_for"] == "backoff")

    await until(parked, what="the job backs off")
    running = await stack.value("SELECT count(*) FROM attempt WHERE ended_at IS NULL")
    assert running == 0
    end = await stack.ended(job)
    assert (end.state, end.attempts) == ("succeeded", ["failed", "succeeded"])
    [gap] = await stack.rows(
        "SELECT extract(epoch FROM b.claimed_at - a.ended_at) AS seconds"
        " FROM attempt a JOIN attempt b ON b.job = a.job AND b.number = 2 WHERE a.number = 1"
    )
    assert gap["seconds"] >= 4
    await balanced(stack)


async def test_two_workers_share_a_budget_and_never_pass_it(stack: Stack, fake: Provider) -> None:
    """C066: room for three calls, fifty jobs on two worker processes: three are in flight, the others wait."""
    await stack.start_worker("second")
    one_step = THREE_STEPS | {
        "name": "one_step", "steps": THREE_STEPS["steps"][:1], "output": "=steps.first.text",
    }  # fmt: skip
    await stack.push(one_step)
    assert (await stack.ended(await stack.post_job("one_step"))).state == "succeeded"
    [hold] = await stack.rows("SELECT asked_nanousd FROM reservation")
    jobs = [
        await stack.post_job("one_step", run_at="2126-01-01T00:00:00Z", metadata={"n": n})
        for n in range(50)
    ]
    fake.otherwise, fake.most_open = Answer(held=True), 0
    room = hold["asked_nanousd"] * 7 // 2
    await stack.rows(
        "UPDATE budget_account SET limit_nanousd = spent_nanousd + %s WHERE kind = 'tenant' RETURNING id",
        room,
    )
    await stack.rows("UPDATE job SET wake_at = now() WHERE state = 'scheduled' RETURNING id")

    async def full() -> bool:
        waiting = "SELECT count(*) FROM job WHERE state = 'waiting' AND waiting_for = 'budget'"
        return fake.open_calls == 3 and bool(await stack.value(waiting) == 47)

    await until(full, what="three are in flight and the others wait for money")
    assert fake.most_open == 3
    [money_] = await stack.rows("SELECT * FROM budget_account WHERE kind = 'tenant'")
    assert money_["held_nanousd"] == 3 * hold["asked_nanousd"]
    assert money_["held_nanousd"] + money_["spent_nanousd"] <= money_["limit_nanousd"]
    assert await stack.value("SELECT count(DISTINCT worker) FROM attempt") == 2
    await stack.rows(
        "UPDATE budget_account SET limit_nanousd = 1000000000000 WHERE kind = 'tenant' RETURNING id"
    )
    fake.otherwise = Answer()
    let_go(fake)
    for job in jobs:
        assert (await stack.ended(job)).state == "succeeded"
    await balanced(stack)
