"""Tool steps: checked, bounded, and as often made as the tool's class promises, whenever a worker dies."""

import asyncio
import json
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from app.attempts.errors import AttemptLost
from app.core import ids
from app.core.ids import JobId
from app.execution import runner
from app.execution.runtime import Close
from app.execution.steps import Bench, run_step
from app.jobs import endings
from app.jobs.transitions import End
from app.tools.errors import ToolFailed
from app.tools.tool import EFFECTS, Call
from tests.arrange import make_jobs
from tests.execution.conftest import Shop
from tests.fakes.far_end import FarEnd
from tests.waiting import until


def calling(tool: str, given: Any = None, **more: Any) -> dict[str, Any]:
    step = {"id": "tell", "kind": "tool", "tool": tool, "in": given or {"n": "=input.n"}} | more
    return {
        "name": "calling",
        "input": {"type": "object"},
        "steps": [step, {"id": "then", "kind": "transform", "value": "=steps.tell"}],
        "output": "=steps.then",
    }


def facts(shop: Shop, step: str = "tell") -> dict[str, Any]:
    row = shop.admin.execute("SELECT facts FROM step WHERE name = %s", (step,)).fetchone()
    assert row is not None
    return dict(row[0])


def rows(shop: Shop) -> int:
    found = shop.admin.execute("SELECT count(*) FROM tool_call").fetchone()
    assert found is not None
    return int(found[0])


async def lose(shop: Shop, job: JobId) -> None:
    """What the reaper does with a worker that is gone: the attempt ends as lost, the job is queued."""
    found = shop.admin.execute("SELECT current_attempt FROM job WHERE id = %s", (job,)).fetchone()
    assert found is not None
    end = End(job, found[0], "calling", {}, endings.lost(0))
    assert await shop.runtime.ends.submit(Close(end)) == "queued"


@pytest.mark.parametrize("effect", EFFECTS)
async def test_a_tools_result_is_the_steps_with_its_version_beside_it(
    shop: Shop, far: FarEnd, effect: str
) -> None:
    job = shop.job(calling(f"far.{effect}"), {"n": 5})
    await shop.run()
    assert shop.state(job, "output") == ("succeeded", {"n": 5})
    found = facts(shop)
    assert (found["tool"], found["tool_version"], found["effect"]) == (f"far.{effect}", "7", effect)
    [call] = far.seen
    assert call.effect_key == f"{job.hex}:tell:0:0"
    assert (call.job, call.tenant, call.step) == (job, shop.tenant, "tell")
    assert rows(shop) == 0  # forgotten once the step is recorded


async def test_an_idempotent_call_writes_nothing_of_its_own(shop: Shop) -> None:
    shop.job(calling("far.idempotent"), {"n": 5})
    await shop.run()
    tools = shop.runtime.tools.effects
    assert (tools.begins._connection, tools.ends._connection) == (None, None)  # noqa: SLF001 - never opened


async def test_a_map_calls_a_tool_under_a_key_an_item(shop: Shop, far: FarEnd) -> None:
    inner = {"id": "one", "kind": "tool", "tool": "far.unsafe", "in": {"n": "=item"}}
    definition = {
        "name": "mapped", "input": {"type": "object"},
        "steps": [{"id": "all", "kind": "map", "over": "=input.xs", "step": inner}],
        "output": "=steps.all[].n",
    }  # fmt: skip
    job = shop.job(definition, {"xs": [3, 1, 2]})
    await shop.run()
    assert shop.state(job, "output") == ("succeeded", [3, 1, 2])
    assert far.happened == {f"{job.hex}:all:{item}:0": 1 for item in range(3)}
    assert rows(shop) == 0


@pytest.mark.parametrize("effect", EFFECTS)
async def test_a_worker_that_dies_before_the_call_costs_no_call(
    shop: Shop, far: FarEnd, effect: str
) -> None:
    job = shop.job(calling(f"far.{effect}"), {"n": 5})
    item = await shop.dispatch()
    assert await shop.runtime.claims.submit((item.job, item.attempt)) is not None
    await lose(shop, job)
    await shop.run()
    assert shop.state(job) == ("succeeded",)
    assert sum(far.calls.values()) == sum(far.happened.values()) == 1


@pytest.mark.parametrize(
    ("effect", "state", "calls", "happened"),
    [("idempotent", "succeeded", 2, 2), ("keyed", "succeeded", 2, 1), ("unsafe", "waiting", 1, 1)],
)
async def test_a_worker_that_dies_during_the_call(
    shop: Shop, far: FarEnd, effect: str, state: str, calls: int, happened: int
) -> None:
    """Idempotent: again. Keyed: again, and the far end does it once. Unsafe: a person decides."""
    far.after = far.hold
    job = shop.job(calling(f"far.{effect}"), {"n": 5})
    item = await shop.dispatch()
    dying = asyncio.create_task(runner.run(shop.runtime, item.job, item.attempt))

    async def called() -> bool:
        return sum(far.happened.values()) == 1

    await until(called, what="the far end has acted")
    await lose(shop, job)
    await shop.beat()  # the worker that was presumed dead hears of it: it ends in silence
    await dying
    far.after = None
    await shop.run()
    waits = "intervention" if state == "waiting" else None
    assert shop.state(job, "waiting_for") == (state, waits)
    assert sum(far.calls.values()) == calls
    assert sum(far.happened.values()) == happened
    assert set(far.calls) == {f"{job.hex}:tell:0:0"}
    assert rows(shop) == (1 if state == "waiting" else 0)
    if effect == "keyed":
        assert facts(shop)["tool_calls"] == 2


@pytest.mark.parametrize(("effect", "calls"), [("idempotent", 2), ("keyed", 1), ("unsafe", 1)])
async def test_a_worker_that_dies_after_the_call_before_the_checkpoint(
    shop: Shop, far: FarEnd, effect: str, calls: int
) -> None:
    """A recorded call of a keyed or an unsafe tool is never made again."""
    job = shop.job(calling(f"far.{effect}"), {"n": 5})
    item = await shop.dispatch()
    claimed = await shop.runtime.claims.submit((item.job, item.attempt))
    assert claimed is not None
    bench = Bench(shop.runtime, claimed)
    definition = await shop.runtime.definitions.get((claimed.tenant, claimed.version))
    step = definition.steps[0]
    assert step.kind == "tool"
    outcome = await run_step(bench, step, "tell", 0, {"n": 5})
    assert outcome.result == {"n": 5}
    await lose(shop, job)
    await shop.run()
    assert shop.state(job, "output") == ("succeeded", {"n": 5})
    assert sum(far.calls.values()) == calls
    assert rows(shop) == 0


async def test_a_late_outcome_of_a_lost_attempt_is_still_a_fact(shop: Shop, far: FarEnd) -> None:
    far.after = far.hold
    job = shop.job(calling("far.unsafe"), {"n": 5})
    item = await shop.dispatch()
    slow = asyncio.create_task(runner.run(shop.runtime, item.job, item.attempt))

    async def called() -> bool:
        return sum(far.happened.values()) == 1

    await until(called, what="the far end has acted")
    await lose(shop, job)  # it isn't told: it still waits for its answer
    far.let_go.set()
    await slow
    await shop.run()
    assert shop.state(job, "output") == ("succeeded", {"n": 5})
    assert sum(far.calls.values()) == 1


@pytest.mark.parametrize(
    ("tool", "given", "code"),
    [
        ("far.unsafe", {"n": "five"}, "tool_arguments_invalid"),
        ("far.unsafe", {"n": 1, "m": 2}, "tool_arguments_invalid"),
        ("far.nothing", {"n": 1}, "unknown_tool"),
        ("calculator", {"expression": "1/0"}, "tool_failed"),
    ],
)
async def test_what_is_wrong_before_a_call_has_no_effect(
    shop: Shop, far: FarEnd, tool: str, given: Any, code: str
) -> None:
    shop.job(calling(tool, given), max_attempts=1)
    await shop.run()
    [[state, found, step]] = shop.admin.execute(
        "SELECT state, error->>'code', error->>'step' FROM job"
    ).fetchall()
    assert (state, found, step) == ("failed", code, "tell")
    assert far.seen == []
    assert rows(shop) == 0


@pytest.mark.parametrize("effect", EFFECTS)
async def test_a_result_over_the_cap_is_a_final_fault(shop: Shop, far: FarEnd, effect: str) -> None:
    """C056: nothing of it is stored, the operator and the client see the size, and no retry asks for it again."""

    async def much(call: Call) -> Any:
        return {"n": "x" * 10_000_000}

    far.after = much
    job = shop.job(calling(f"far.{effect}"), {"n": 5})
    await shop.run()
    state, error = shop.state(job, "error")
    assert (state, error["code"], error["retryable"]) == ("failed", "tool_output_too_large", False)
    assert "a result of 10000009 bytes; at most 1000 are kept" in error["message"]
    assert sum(far.calls.values()) == 1


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"m": 1}, "'n' is a required property"),
        (float("nan"), "is not JSON"),
        (object(), "is not JSON"),
        ({"n": "a\x00b"}, "NUL"),
    ],
)
async def test_a_result_that_does_not_fit_is_refused(
    shop: Shop, far: FarEnd, result: Any, message: str
) -> None:
    async def odd(call: Call) -> Any:
        return result

    far.after = odd
    job = shop.job(calling("far.unsafe"), {"n": 5})
    await shop.run()
    state, error = shop.state(job, "error")
    assert (state, error["code"]) == ("failed", "tool_output_invalid")
    assert message in error["message"]


@pytest.mark.parametrize("retryable", [True, False])
@pytest.mark.parametrize("effect", EFFECTS)
async def test_a_fault_without_effect_says_whether_it_may_be_tried_again(
    shop: Shop, far: FarEnd, effect: str, retryable: bool
) -> None:
    async def refuse(call: Call) -> Any:
        raise ToolFailed("the CRM is closed", tool="far", retryable=retryable)

    far.before = refuse
    job = shop.job(calling(f"far.{effect}"), {"n": 5})
    await shop.run()
    assert shop.state(job, "waiting_for") == (
        ("waiting", "backoff") if retryable else ("failed", None)
    )
    assert rows(shop) == 0  # it had no effect, so nothing is in doubt
    if retryable:
        far.before = None
        shop.due()
        await shop.run()
        assert shop.state(job) == ("succeeded",)
        assert sum(far.happened.values()) == 1


@pytest.mark.parametrize(
    ("effect", "waits", "code"),
    [
        ("idempotent", "backoff", "tool_timed_out"),
        ("keyed", "backoff", "tool_timed_out"),
        ("unsafe", "intervention", "tool_in_doubt"),
    ],
)
async def test_a_tool_that_gives_nothing_in_its_time_is_cut_off(
    shop: Shop, far: FarEnd, effect: str, waits: str, code: str
) -> None:
    """C031: also one that doesn't let itself be cancelled; what it does later is nobody's result."""
    stubborn = asyncio.Event()

    async def ignore(call: Call) -> Any:
        try:
            await far.let_go.wait()
        except asyncio.CancelledError:
            await stubborn.wait()
            return {"n": 666}

    far.after = ignore
    job = shop.job(calling(f"far.hasty_{effect}"), {"n": 5})
    box = shop.runtime.tools
    await shop.run()
    assert shop.state(job, "waiting_for") == ("waiting", waits)
    [[found]] = shop.admin.execute("SELECT error->>'code' FROM attempt").fetchall()
    assert found == code
    assert len(box.abandoned) == 1
    stubborn.set()

    async def ended() -> bool:
        return not box.abandoned

    await until(ended, what="the stubborn tool has ended")
    assert shop.state(job) == ("waiting",)


@pytest.mark.parametrize(
    ("effect", "waits"),
    [("idempotent", "backoff"), ("keyed", "backoff"), ("unsafe", "intervention")],
)
async def test_a_crash_inside_a_tool_is_as_good_as_no_word(
    shop: Shop, far: FarEnd, effect: str, waits: str
) -> None:
    async def crash(call: Call) -> Any:
        raise KeyError("secret detail")

    far.after = crash
    job = shop.job(calling(f"far.{effect}"), {"n": 5})
    await shop.run()
    assert shop.state(job, "waiting_for") == ("waiting", waits)
    [[message]] = shop.admin.execute("SELECT error->>'message' FROM attempt").fetchall()
    assert "KeyError" in message
    assert "secret" not in message


async def test_a_lost_attempt_begins_no_call(shop: Shop, far: FarEnd) -> None:
    job = shop.job(calling("far.unsafe"), {"n": 5})
    item = await shop.dispatch()
    claimed = await shop.runtime.claims.submit((item.job, item.attempt))
    assert claimed is not None
    definition = await shop.runtime.definitions.get((claimed.tenant, claimed.version))
    await lose(shop, job)
    step = definition.steps[0]
    assert step.kind == "tool"
    with pytest.raises(AttemptLost):
        await run_step(Bench(shop.runtime, claimed), step, "tell", 0, {"n": 5})
    assert far.seen == []


async def refused(shop: Shop) -> list[dict[str, Any]]:
    found = shop.admin.execute(
        "SELECT body FROM audit_entry WHERE action = 'request.refuse' ORDER BY id"
    ).fetchall()
    return [json.loads(row[0]) for row in found]


async def test_a_tool_that_was_not_granted_looks_like_none_and_the_trail_is_told(
    shop: Shop, far: FarEnd
) -> None:
    """C055: the job learns nothing that a misspelt name wouldn't tell; the operator learns all."""
    shop.admin.execute("DELETE FROM tool_grant WHERE tool = 'far.keyed'")
    job = shop.job(calling("far.keyed"), {"n": 5})
    await shop.run()
    state, error = shop.state(job, "error")
    assert (state, error["code"]) == ("failed", "unknown_tool")
    assert error["message"].startswith("no tool is called far.keyed")
    assert far.seen == []
    [entry] = await refused(shop)
    assert entry["after"] == {"tried": "tool far.keyed", "step": "tell", "why": "not granted"}


async def test_a_grant_bounds_the_arguments_and_holds_within_a_second(
    shop: Shop, far: FarEnd
) -> None:
    limits = {"properties": {"n": {"maximum": 9}}}
    shop.admin.execute(
        "UPDATE tool_grant SET arguments = %s WHERE tool = 'far.unsafe'", (Jsonb(limits),)
    )
    within = shop.job(calling("far.unsafe"), {"n": 9})
    await shop.run()
    assert shop.state(within) == ("succeeded",)
    version = shop.state(within, "version")[1]
    [outside] = make_jobs(shop.admin, shop.tenant, version, workflow="calling")
    shop.admin.execute("UPDATE job SET input = %s WHERE id = %s", (Jsonb({"n": 10}), outside))
    await shop.run()
    state, error = shop.state(outside, "error")
    assert (state, error["code"]) == ("failed", "tool_not_allowed")
    assert "/in/n: 10 is greater than the maximum of 9" in error["message"]
    assert [call.arguments for call in far.seen] == [{"n": 9}]
    assert [entry["object"] for entry in await refused(shop)] == [ids.wire("job", outside)]
    shop.admin.execute("UPDATE tool_grant SET arguments = NULL WHERE tool = 'far.unsafe'")
    box = shop.runtime.tools

    async def known() -> bool:
        bound = (await box.granted.get(shop.tenant)).tools["far.unsafe"]
        return bound.limits is None

    await until(known, what="the new grant is known")
