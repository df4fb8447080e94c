"""One attempt from claim to end, in this process: what is recorded, what is bought, how each fault ends."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.audit.trail import Actor
from app.core import clock, ids
from app.core.ids import StepId
from app.core.recent import Recent
from app.execution import runner
from app.execution.runtime import IMMUTABLE, Mark
from app.jobs import endings, transitions
from app.jobs.transitions import Note
from app.workflows import definitions
from app.workflows.checkpoints import Checkpoint
from app.workflows.definitions import Definition
from tests.execution.conftest import Shop
from tests.fakes.provider import Answer, Provider
from tests.waiting import until


def asking(*names: str, **more: Any) -> dict[str, Any]:
    """A workflow of model steps that say their names."""
    return {
        "name": "asking",
        "input": {"type": "object"},
        "steps": [
            {"id": name, "kind": "model", "prompt": "plain@1", "in": {"text": f"say {name}"}, "max_tokens": 8} | more
            for name in names
        ],
        "output": {name: f"=steps.{name}.text" for name in names},
    }  # fmt: skip


def mapping(count: int, concurrency: int = 4) -> dict[str, Any]:
    inner = {
        "id": "one",
        "kind": "model",
        "prompt": "plain@1",
        "in": {"text": "=item"},
        "max_tokens": 8,
    }
    return {
        "name": "mapping",
        "input": {"type": "object"},
        "steps": [
            {
                "id": "all",
                "kind": "map",
                "over": "=input.xs",
                "concurrency": concurrency,
                "step": inner,
            }
        ],
        "output": "=steps.all[].text",
    }


def transforming(value: Any) -> dict[str, Any]:
    return {
        "name": "transforming",
        "input": {"type": "object"},
        "steps": [{"id": "made", "kind": "transform", "value": value}],
        "output": "=steps.made",
    }


async def test_every_step_is_recorded_once_with_what_it_cost(shop: Shop, fake: Provider) -> None:
    job = shop.job(asking("first", "second"))
    await shop.run()
    assert shop.state(job, "output") == (
        "succeeded",
        {"first": "say first", "second": "say second"},
    )
    steps = shop.admin.execute("SELECT name, state, facts FROM step ORDER BY id").fetchall()
    assert [(name, state) for name, state, _ in steps] == [
        ("first", "succeeded"),
        ("second", "succeeded"),
    ]
    cost = shop.admin.execute("SELECT sum(cost_nanousd) FROM usage_line").fetchone()
    assert cost is not None
    assert cost[0] == sum(facts["cost_nanousd"] for _, _, facts in steps) > 0
    assert shop.admin.execute("SELECT count(*) FROM effect").fetchone() == (
        0,
    )  # pruned once recorded
    assert set(fake.calls.values()) == {1}


async def test_a_callers_trace_goes_on_in_each_provider_call(shop: Shop, fake: Provider) -> None:
    above = "00f067aa0ba902b7"
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    shop.job(asking("first", "second"), traceparent=f"00-{trace}-{above}-01")
    fake.script = [Answer(status=503), Answer()]

    await shop.run()

    sent = [one.headers["traceparent"].split("-") for one in fake.asked]
    assert [(version, of, flags) for version, of, _, flags in sent] == [("00", trace, "01")] * 3
    assert len({above, *(parent for _, _, parent, _ in sent)}) == 4  # a retry is a call of its own


async def test_without_a_callers_trace_a_provider_is_told_of_none(
    shop: Shop, fake: Provider
) -> None:
    shop.job(asking("only"))
    await shop.run()
    assert "traceparent" not in fake.asked[0].headers


async def test_a_resumed_job_repeats_no_recorded_step(shop: Shop, fake: Provider) -> None:
    job = shop.job(asking("first", "second"))
    fake.script = [Answer(), Answer(status=400, body={"error": {"message": "no"}})]
    await shop.run()
    assert shop.state(job, "failures") == ("failed", 1)
    async with shop.runtime.db.transaction() as session:
        actor = Actor("operator", "test")
        await transitions.retry(session, shop.tenant, job, actor=actor, request_id=None)
    await shop.run()
    assert shop.state(job, "run") == ("succeeded", 2)
    assert sorted(fake.calls.values()) == [1, 2]


async def test_a_message_that_comes_twice_runs_once(shop: Shop, fake: Provider) -> None:
    """C014"""
    shop.job(asking("only"))
    item = await shop.dispatch()
    await asyncio.gather(*[runner.run(shop.runtime, item.job, item.attempt) for _ in range(5)])
    await runner.run(shop.runtime, item.job, item.attempt)
    assert list(fake.calls.values()) == [1]
    assert shop.admin.execute("SELECT count(*) FROM attempt").fetchone() == (1,)


async def test_a_passing_fault_backs_off_and_a_final_one_fails(shop: Shop, fake: Provider) -> None:
    job = shop.job(asking("only"))
    fake.otherwise = Answer(status=500, body={"error": {"message": "broken"}})
    await shop.run()
    assert shop.state(job, "waiting_for", "failures") == ("waiting", "backoff", 1)
    shop.due()
    await shop.run()
    shop.due()
    await shop.run()
    state, error = shop.state(job, "error")
    assert state == "failed"
    assert (error["code"], error["step"], error["retryable"]) == ("provider_failed", "only", True)


async def test_a_map_keeps_its_order_and_its_concurrency(shop: Shop, fake: Provider) -> None:
    job = shop.job(mapping(9, concurrency=3), {"xs": [f"item {n}" for n in range(9)]})
    fake.otherwise = Answer(held=True)
    running = asyncio.create_task(shop.run())

    async def full() -> bool:
        return fake.open_calls == 3

    await until(full, what="three calls are in flight")
    fake.released.set()
    await running
    assert shop.state(job, "output") == ("succeeded", [f"item {n}" for n in range(9)])
    assert fake.most_open == 3
    assert shop.admin.execute("SELECT count(*), max(item) FROM step").fetchone() == (9, 8)


async def test_a_fault_in_a_map_lets_what_is_in_flight_finish(shop: Shop, fake: Provider) -> None:
    job = shop.job(mapping(6, concurrency=2), {"xs": [f"item {n}" for n in range(6)]})
    fake.script = [Answer(seconds=0.1), Answer(status=400, body={"error": {"message": "no"}})]
    await shop.run()
    assert shop.state(job)[0] == "failed"
    assert len(fake.asked) == 2
    lines = shop.admin.execute("SELECT unconfirmed FROM usage_line").fetchall()
    assert lines == [(False,)]
    recorded = shop.admin.execute("SELECT state FROM step ORDER BY state").fetchall()
    assert recorded == [("failed",), ("succeeded",)]


@pytest.mark.parametrize(("limit", "state"), [(1, "failed"), (10_000_000, "succeeded")])
async def test_a_job_may_not_cost_more_than_its_own_cap(
    limit: int, state: str, shop: Shop, fake: Provider
) -> None:
    job = shop.job(asking("only"), max_cost_nanousd=limit)
    shop.admin.execute(
        "INSERT INTO budget_account (id, tenant, kind, job, limit_nanousd, created_at)"
        " VALUES (%s, %s, 'job', %s, %s, app_now())",
        (ids.new(), shop.tenant, job, limit),
    )
    await shop.run()
    assert shop.state(job)[0] == state
    assert len(fake.asked) == (state == "succeeded")


async def test_without_money_a_job_parks_and_goes_on_when_there_is_some(
    shop: Shop, fake: Provider
) -> None:
    job = shop.job(asking("only"))
    shop.admin.execute("UPDATE budget_account SET spent_nanousd = limit_nanousd")
    await shop.run()
    state, waiting_for, need, failures = shop.state(job, "waiting_for", "need_nanousd", "failures")
    assert (state, waiting_for, failures) == ("waiting", "budget", 0)
    assert need > 0
    assert fake.asked == []
    shop.admin.execute("UPDATE budget_account SET spent_nanousd = 0")
    async with await shop.runtime.db.connect_hot() as connection:
        assert await transitions.wake_funded(connection, [job]) == 1
    await shop.run()
    assert shop.state(job)[0] == "succeeded"


async def test_a_cancel_reaches_the_call_in_flight(shop: Shop, fake: Provider) -> None:
    """C031: the provider sees the hang-up, and what it may have cost is booked."""
    job = shop.job(asking("only"))
    fake.script = [Answer(held=True)]
    running = asyncio.create_task(shop.run())

    async def in_flight() -> bool:
        return fake.open_calls == 1

    await until(in_flight, what="the call is in flight")
    async with shop.runtime.db.transaction() as session:
        actor = Actor("operator", "test")
        await transitions.cancel(session, shop.tenant, job, actor=actor, request_id=None)
    await shop.beat()
    await running
    assert shop.state(job)[0] == "cancelled"

    async def hung_up() -> bool:
        return fake.open_calls == 0

    await until(hung_up, what="the provider sees the hang-up")
    assert shop.admin.execute("SELECT unconfirmed FROM usage_line").fetchall() == [(True,)]
    assert shop.admin.execute("SELECT held_nanousd FROM budget_account").fetchone() == (0,)


async def test_a_deadline_ends_a_running_job(shop: Shop, fake: Provider) -> None:
    job = shop.job(asking("only"))
    fake.script = [Answer(held=True)]
    running = asyncio.create_task(shop.run())

    async def in_flight() -> bool:
        return fake.open_calls == 1

    await until(in_flight, what="the call is in flight")
    shop.admin.execute("UPDATE job SET deadline_at = %s", (clock.now() - timedelta(seconds=1),))
    await shop.beat()
    await running
    state, error = shop.state(job, "error")
    assert (state, error["code"]) == ("expired", "deadline_passed")


async def test_an_attempt_that_was_given_away_writes_nothing_more(
    shop: Shop, fake: Provider
) -> None:
    job = shop.job(asking("only"))
    fake.script = [Answer(held=True)]
    running = asyncio.create_task(shop.run())

    async def in_flight() -> bool:
        return fake.open_calls == 1

    await until(in_flight, what="the call is in flight")
    row = shop.admin.execute("SELECT current_attempt FROM job").fetchone()
    assert row is not None
    async with await shop.runtime.db.connect_hot() as connection:
        end = transitions.End(job, row[0], "asking", {}, endings.lost(0))
        assert await transitions.end(connection, [end]) == ["queued"]
    await shop.beat()
    await running
    assert shop.state(job, "shared_losses") == ("queued", 1)
    assert shop.admin.execute("SELECT count(*) FROM step").fetchone() == (0,)


async def test_alone_a_job_goes_one_step_and_then_back_to_its_lane(shop: Shop) -> None:
    """C025: past where its workers were lost it has proved harmless, and others wait for its place."""
    job = shop.job(asking("first", "second"), lane="quarantine", home_lane="standard")
    await shop.run(job)
    assert shop.state(job, "lane", "home_lane", "losses") == ("queued", "standard", None, 0)
    await shop.run(job)
    assert shop.state(job, "lane", "attempts") == ("succeeded", "standard", 2)
    outcomes = shop.admin.execute("SELECT outcome FROM attempt ORDER BY number").fetchall()
    assert [outcome for (outcome,) in outcomes] == ["parked", "succeeded"]


async def test_the_last_step_alone_ends_the_job_there(shop: Shop) -> None:
    job = shop.job(mapping(3), {"xs": ["a", "b"]}, lane="quarantine", home_lane="batch")
    await shop.run(job)
    assert shop.state(job, "attempts", "output") == ("succeeded", 1, ["a", "b"])


async def test_a_stopping_process_begins_no_further_step(shop: Shop, fake: Provider) -> None:
    job = shop.job(asking("first", "second"))
    fake.script = [Answer(held=True)]
    running = asyncio.create_task(shop.run())

    async def in_flight() -> bool:
        return fake.open_calls == 1

    await until(in_flight, what="the call is in flight")
    shop.runtime.holdings.stopping = True
    fake.released.set()
    await running
    assert shop.state(job, "interruptions", "failures") == ("queued", 1, 0)
    assert len(fake.asked) == 1
    assert shop.admin.execute("SELECT name FROM step").fetchall() == [("first",)]


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("x" * 2_000_000, "payload_too_large"),
        ("nul \x00 in it", "step_failed"),
        (float("nan"), "step_failed"),
    ],
    ids=["large", "nul", "nan"],
)
async def test_what_can_not_be_kept_fails_once_with_a_reason(
    value: Any, code: str, shop: Shop
) -> None:
    """C041, C001, C003: never retried, and the error itself is small."""
    recorded = {"given": value}
    job = shop.job(transforming({"made": "=input"}), {})

    async def unstorable(_: Any) -> Definition:
        return definitions.stored(transforming(recorded))

    shop.runtime = replace(shop.runtime, definitions=Recent(unstorable, IMMUTABLE))
    await shop.run()
    state, error, attempts = shop.state(job, "error", "attempts")
    assert (state, error["code"], attempts) == ("failed", code, 1)
    assert len(error["message"]) < 500


async def test_an_expression_that_meets_other_data_is_a_final_fault(shop: Shop) -> None:
    job = shop.job(mapping(1), {"xs": "not a list"})
    await shop.run()
    state, error = shop.state(job, "error")
    assert (state, error["code"], error["retryable"]) == ("failed", "expression_failed", False)


async def test_a_step_of_microseconds_is_recorded_with_its_time(shop: Shop) -> None:
    """A tiny duration once read as 6e-05 and failed its whole group."""
    item = await claimed(shop)
    for microseconds in (0, 1, 61, 10**6):
        took = timedelta(microseconds=microseconds)
        mark = Mark(
            Note(item.job, item.attempt, "step.succeeded", {}),
            Checkpoint(
                StepId(ids.new()), item.tenant, item.job, item.attempt, f"s{microseconds}", 0, "transform",
                None, None, {}, took,
            ),
        )  # fmt: skip
        assert await shop.runtime.marks.submit(mark) is not None
    times = shop.admin.execute("SELECT finished_at - started_at FROM step ORDER BY id").fetchall()
    assert [row[0] for row in times] == [timedelta(microseconds=n) for n in (0, 1, 61, 10**6)]


async def claimed(shop: Shop) -> transitions.Claimed:
    shop.job(transforming(1))
    item = await shop.dispatch()
    found = await shop.runtime.claims.submit((item.job, item.attempt))
    assert found is not None
    return found


async def test_the_last_step_and_the_end_are_one_commit(shop: Shop, fake: Provider) -> None:
    """Nothing can see the last step recorded and the job still running, or be killed between the two."""
    job = shop.job(asking("first", "second"))
    await shop.run()
    ends = shop.admin.execute(
        "SELECT step.name, step.xmin = job.xmin FROM step JOIN job ON job.id = step.job ORDER BY step.id"
    ).fetchall()
    assert ends == [("first", False), ("second", True)]
    told = shop.admin.execute(
        "SELECT seq, name FROM job_event WHERE job = %s ORDER BY seq DESC LIMIT 2", (job,)
    ).fetchall()
    assert [name for _, name in told] == ["job.succeeded", "step.succeeded"]
    assert shop.state(job, "event_seq", "progress") == (
        "succeeded",
        told[0][0],
        {"done": 2, "total": 2, "label": "second"},
    )


async def test_a_cancel_that_meets_the_last_step_keeps_its_record(
    shop: Shop, fake: Provider
) -> None:
    """The call was paid for: it is recorded, though the job ends as cancelled."""
    job = shop.job(asking("only"))
    fake.script = [Answer(held=True)]
    running = asyncio.create_task(shop.run())

    async def in_flight() -> bool:
        return fake.open_calls == 1

    await until(in_flight, what="the call is in flight")
    async with shop.runtime.db.transaction() as session:
        actor = Actor("operator", "test")
        await transitions.cancel(session, shop.tenant, job, actor=actor, request_id=None)
    fake.released.set()  # before any heartbeat brings the word
    await running
    assert shop.state(job, "output") == ("cancelled", None)
    assert shop.admin.execute("SELECT name, state FROM step").fetchall() == [("only", "succeeded")]
    assert shop.admin.execute("SELECT unconfirmed FROM usage_line").fetchall() == [(False,)]


async def test_an_output_at_fault_fails_the_job_after_its_steps_are_recorded(shop: Shop) -> None:
    definition = transforming({"n": 1}) | {"output": "=length(steps.made.n)"}
    job = shop.job(definition)
    await shop.run()
    assert shop.state(job)[0] == "failed"
    assert shop.admin.execute("SELECT name, state FROM step").fetchall() == [("made", "succeeded")]


async def test_the_attempts_of_one_message_run_beside_each_other(
    shop: Shop, fake: Provider
) -> None:
    jobs = [shop.job(asking("only") | {"name": f"asking{n}"}) for n in range(3)]
    fake.otherwise = Answer(held=True)
    items = [await shop.dispatch() for _ in jobs]
    running = asyncio.create_task(
        runner.run_all(shop.runtime, [(item.job, item.attempt) for item in items])
    )

    async def in_flight() -> bool:
        return fake.open_calls == 3

    await until(in_flight, what="three calls are in flight")
    fake.released.set()
    await running
    assert [shop.state(job)[0] for job in jobs] == ["succeeded"] * 3


async def test_attempts_without_a_slot_go_back_to_the_queue_at_no_cost(
    shop: Shop, fake: Provider
) -> None:
    shop.runtime = replace(shop.runtime, seats=asyncio.Semaphore(1))
    jobs = [shop.job(asking("only") | {"name": f"asking{n}"}) for n in range(2)]
    fake.otherwise = Answer(held=True)
    items = [await shop.dispatch() for _ in jobs]
    running = asyncio.create_task(
        runner.run_all(shop.runtime, [(item.job, item.attempt) for item in items])
    )

    async def one_is_back() -> bool:
        return sorted(shop.state(job)[0] for job in jobs) == ["queued", "running"]

    await until(one_is_back, what="the one without a slot is queued again")
    fake.released.set()
    await running
    assert sorted(shop.state(job)[0] for job in jobs) == ["queued", "succeeded"]
    counters = shop.admin.execute(
        "SELECT failures, losses, interruptions, undelivered FROM job WHERE state = 'queued'"
    ).fetchone()
    assert counters == (0, 0, 0, 0)
    outcome = shop.admin.execute("SELECT error->>'code' FROM attempt WHERE outcome = 'undelivered'")
    assert outcome.fetchone() == ("no_slot",)
