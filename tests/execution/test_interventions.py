"""A call in doubt waits for a person, and goes on as they say."""

from typing import Any

import pytest

from app.audit.trail import Actor
from app.core.errors import Invalid, NotFound
from app.core.ids import JobId
from app.execution import interventions
from app.jobs import transitions
from app.jobs.errors import JobNotWaiting
from app.tools.tool import Call
from tests.execution.conftest import Shop
from tests.execution.test_tools import calling
from tests.fakes.far_end import FarEnd

ADA = Actor("key", "key_ada")


async def parked(shop: Shop, far: FarEnd) -> JobId:
    """A job whose unsafe call crashed after it had its effect."""

    async def crash(call: Call) -> Any:
        raise OSError("cut off")

    far.after = crash
    job = shop.job(calling("far.unsafe"), {"n": 5})
    await shop.run()
    far.after = None
    assert shop.state(job, "waiting_for") == ("waiting", "intervention")
    return job


async def say(shop: Shop, job: JobId, said: Any, result: Any = None, **more: Any) -> None:
    given: dict[str, Any] = {"step": "tell", "item": 0} | more
    async with shop.runtime.db.transaction() as session:
        await interventions.answer(
            session, shop.tenant, job, given["step"], given["item"], said, result,
            tools=shop.runtime.tools.registry, comment="looked it up", actor=ADA,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("said", "result", "output", "calls"),
    [("done", {"n": 77}, {"n": 77}, 1), ("retry", None, {"n": 5}, 2)],
)
async def test_a_person_says_how_a_call_in_doubt_ended(
    shop: Shop, far: FarEnd, said: str, result: Any, output: Any, calls: int
) -> None:
    job = await parked(shop, far)
    async with shop.runtime.db.transaction() as session:
        [call] = await interventions.listed(session, shop.tenant, job)
    assert (call.step, call.tool, call.arguments) == ("tell", "far.unsafe", {"n": 5})
    await say(shop, job, said, result)
    assert shop.state(job, "waiting_for") == ("queued", None)
    await shop.run()
    assert shop.state(job, "output") == ("succeeded", output)
    assert sum(far.calls.values()) == calls
    [[data]] = shop.admin.execute(
        "SELECT data FROM job_event WHERE name = 'job.queued' AND data <> '{}'"
    ).fetchall()
    assert (data["answer"], data["comment"]) == (said, "looked it up")
    assert shop.admin.execute(
        "SELECT count(*) FROM audit_entry WHERE action = 'job.answer'"
    ).fetchone() == (1,)


async def test_a_job_that_a_person_ended_has_failed_and_its_retry_asks_again(
    shop: Shop, far: FarEnd
) -> None:
    job = await parked(shop, far)
    await say(shop, job, "fail")
    state, error, finished = shop.state(job, "error", "finished_at")
    assert (state, error["code"], error["step"]) == ("failed", "tool_in_doubt", "tell")
    assert finished is not None
    async with shop.runtime.db.transaction() as session:
        await transitions.retry(session, shop.tenant, job, actor=ADA, request_id=None)
    await shop.run()
    assert shop.state(job, "waiting_for") == ("waiting", "intervention")
    assert sum(far.calls.values()) == 1


async def test_what_is_no_answer_changes_nothing(shop: Shop, far: FarEnd) -> None:
    job = await parked(shop, far)
    with pytest.raises(Invalid) as refused:
        await say(shop, job, "done", {"n": "seven"})
    assert refused.value.context["errors"][0]["pointer"] == "/result"
    for wrong in ({"step": "then"}, {"item": 1}):
        with pytest.raises(NotFound):
            await say(shop, job, "retry", **wrong)
    assert shop.state(job, "waiting_for") == ("waiting", "intervention")
    await say(shop, job, "retry")
    with pytest.raises(JobNotWaiting):  # the second of two who answer
        await say(shop, job, "done", {"n": 1})
