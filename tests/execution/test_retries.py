"""Which faults are tried again, how often and when; and what takes longer than it may."""

import asyncio
from typing import Any

import pytest

from app.audit.trail import Actor
from app.execution import bounds
from app.execution.errors import StepTimedOut
from app.jobs import transitions
from tests.execution.conftest import Shop
from tests.fakes.provider import Answer, Provider
from tests.waiting import until

BUSY = Answer(status=503, body={"error": {"message": "busy"}})
WRONG = Answer(status=400, body={"error": {"message": "no"}})


def asking(step: dict[str, Any] | None = None, **workflow: Any) -> dict[str, Any]:
    """A workflow of one model step, each with what is given."""
    asked = {
        "id": "only",
        "kind": "model",
        "prompt": "plain@1",
        "in": {"text": "say only"},
        "max_tokens": 8,
    }
    return {
        "name": "asking", "input": {"type": "object"}, "steps": [asked | (step or {})],
        "output": "=steps.only.text",
    } | workflow  # fmt: skip


@pytest.fixture(autouse=True)
def one_call_a_try(shop: Shop) -> None:
    """The gateway's own quick second call is tested where it is made."""
    gateway = shop.runtime.gateway
    gateway.config = gateway.config.model_copy(update={"retries": 0})


async def tried(shop: Shop, job: Any, most: int = 12) -> int:
    """Run a job whenever it may, to its end. Gives how many attempts that took."""
    for times in range(1, most):
        await shop.run(job)
        if shop.state(job)[0] != "waiting":
            return times
        shop.due()
    raise AssertionError(f"not over after {most} attempts")


@pytest.mark.parametrize(
    ("definition", "max_attempts", "attempts"),
    [
        (asking(), 3, 3),  # without a policy: as often as the job says
        (asking(retry={"max_attempts": 2}), 9, 2),
        (asking({"retry": {"max_attempts": 4}}, retry={"max_attempts": 2}), 9, 4),
        (asking({"retry": {"base_seconds": 1}}, retry={"max_attempts": 2}), 9, 2),
        (asking(retry={"max_attempts": 9}), 3, 3),  # the job's bounds all
        (asking(retry={"on": ["step_timeout"]}), 9, 1),
        (asking({"retry": {"on": []}}), 9, 1),
    ],
)
async def test_a_step_is_tried_as_often_as_its_policy_its_workflows_and_the_job_say(
    definition: dict[str, Any], max_attempts: int, attempts: int, shop: Shop, fake: Provider
) -> None:
    job = shop.job(definition, max_attempts=max_attempts)
    fake.otherwise = BUSY
    assert await tried(shop, job) == attempts
    state, error, failures = shop.state(job, "error", "failures")
    assert (state, error["code"], failures) == ("failed", "provider_failed", attempts)


async def test_a_permanent_fault_is_never_tried_again(shop: Shop, fake: Provider) -> None:
    job = shop.job(asking(retry={"max_attempts": 9}), max_attempts=9)
    fake.otherwise = WRONG
    assert await tried(shop, job) == 1


async def test_a_retry_by_hand_has_all_tries_of_its_steps_again(shop: Shop, fake: Provider) -> None:
    job = shop.job(asking(retry={"max_attempts": 2}))
    fake.otherwise = BUSY
    assert await tried(shop, job) == 2
    async with shop.runtime.db.transaction() as session:
        actor = Actor("operator", "test")
        await transitions.retry(session, shop.tenant, job, actor=actor, request_id=None)
    assert await tried(shop, job) == 2


@pytest.mark.parametrize(
    ("policy", "headers", "least", "most"),
    [
        ({"base_seconds": 100, "factor": 3, "cap_seconds": 150}, {}, 0, 150),
        ({"base_seconds": 100, "factor": 3, "cap_seconds": 5}, {}, 0, 5),
        ({"base_seconds": 1}, {"Retry-After": "40"}, 40, 41),
        ({"base_seconds": 1}, {"Retry-After": "90000"}, 3_600, 3_600),  # an hour at most
    ],
)
async def test_the_pause_is_the_policys_or_what_the_provider_asks_for_within_bounds(
    policy: dict[str, Any],
    headers: dict[str, str],
    least: float,
    most: float,
    shop: Shop,
    fake: Provider,
) -> None:
    job = shop.job(asking(retry=policy))
    fake.otherwise = Answer(status=503, headers=headers, body={"error": {"message": "busy"}})
    await shop.run()
    pause = "CAST(extract(epoch FROM wake_at - (SELECT ended_at FROM attempt)) AS float8)"
    state, reason, seconds = shop.state(job, "waiting_for", pause)
    assert (state, reason) == ("waiting", "backoff")
    assert least <= seconds <= most
    slots = shop.admin.execute("SELECT count(*) FROM attempt WHERE ended_at IS NULL").fetchone()
    assert slots == (0,)  # a back-off holds none


async def test_a_step_past_its_timeout_is_hung_up_on_paid_for_and_tried_again(
    shop: Shop, fake: Provider
) -> None:
    job = shop.job(asking({"timeout_seconds": 2, "retry": {"max_attempts": 2}}))
    fake.script = [Answer(held=True)]
    assert await tried(shop, job) == 2
    assert shop.state(job, "output") == ("succeeded", "say only")
    tries = shop.admin.execute("SELECT state, error FROM step ORDER BY id").fetchall()
    assert [(state, error and error["code"]) for state, error in tries] == [
        ("failed", "step_timeout"), ("succeeded", None),
    ]  # fmt: skip
    assert tries[0][1]["retryable"] is True

    async def hung_up() -> bool:
        return fake.open_calls == 0

    await until(hung_up, what="the provider sees the hang-up")
    lines = shop.admin.execute("SELECT unconfirmed FROM usage_line ORDER BY id").fetchall()
    assert lines == [(True,), (False,)]  # the call that was cut off is booked at its hold
    held = shop.admin.execute("SELECT sum(held_nanousd) FROM budget_account").fetchone()
    assert held == (0,)


async def test_a_map_has_a_timeout_as_a_whole_and_keeps_what_is_recorded(
    shop: Shop, fake: Provider
) -> None:
    inner = {
        "id": "one",
        "kind": "model",
        "prompt": "plain@1",
        "in": {"text": "=item"},
        "max_tokens": 8,
    }
    definition = {
        "name": "mapping", "input": {"type": "object"}, "output": "=steps.all[].text",
        "steps": [
            {"id": "all", "kind": "map", "over": "=input.xs", "concurrency": 1, "timeout_seconds": 4, "step": inner}
        ],
    }  # fmt: skip
    job = shop.job(definition, {"xs": ["a", "b"]})
    fake.script = [Answer(), Answer(held=True)]
    assert await tried(shop, job) == 2
    assert shop.state(job, "output") == ("succeeded", ["a", "b"])
    assert len(fake.asked) == 3  # the first item was not bought again


async def test_what_is_not_set_does_not_expire(shop: Shop, fake: Provider) -> None:
    job = shop.job(asking())
    shop.admin.execute("UPDATE job SET created_at = created_at - interval '1 year'")
    await shop.run()
    assert shop.state(job, "deadline_at", "timeout_seconds") == ("succeeded", None, None)


async def test_a_jobs_timeout_counts_from_the_start_of_each_run(shop: Shop, fake: Provider) -> None:
    job = shop.job(asking(timeout_seconds=60), timeout_seconds=60)
    shop.admin.execute("UPDATE job SET created_at = created_at - interval '1 hour'")
    fake.otherwise = WRONG
    left = "extract(epoch FROM deadline_at - started_at)"
    assert shop.state(job, "deadline_at") == ("queued", None)  # it may wait as long as it takes
    await shop.run()
    assert shop.state(job, left) == ("failed", 60)
    async with shop.runtime.db.transaction() as session:
        actor = Actor("operator", "test")
        await transitions.retry(session, shop.tenant, job, actor=actor, request_id=None)
    assert shop.state(job, "deadline_at") == ("queued", None)
    await shop.run()
    assert shop.state(job, left) == ("failed", 60)


async def test_a_step_that_swallows_its_cancellation_is_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """C031: the attempt ends at the step's timeout; whatever the step does later, nobody waits for it."""
    monkeypatch.setattr(bounds, "LEAVE_SECONDS", 0.05)
    begun, release, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def stubborn() -> str:
        begun.set()
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue
        done.set()
        return "late"

    with pytest.raises(StepTimedOut):
        await bounds.bounded(stubborn(), "tool", 0.05)
    begun.clear()
    cancelled = asyncio.create_task(bounds.bounded(stubborn(), "tool", None))
    await begun.wait()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert not done.is_set()
    release.set()
    await done.wait()
