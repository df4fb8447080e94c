"""Tools of an installed package, in real processes: what a killed worker costs at the far end."""

from collections import Counter
from typing import Any

from tests.fakes.receiver import Receiver, Reply
from tests.stack import Stack
from tests.waiting import until

EFFECTS = ("idempotent", "keyed", "unsafe")


def calling(effect: str) -> dict[str, Any]:
    step = {"id": "tell", "kind": "tool", "tool": f"far.{effect}", "in": {"n": "=input.n"}}
    return {
        "name": f"call_{effect}",
        "input": {"type": "object"},
        "steps": [step],
        "output": "=steps.tell",
    }


async def test_a_worker_killed_in_the_middle_of_calls_repeats_what_may_be_repeated(
    stack: Stack, hooks: Receiver
) -> None:
    """Idempotent and keyed calls are made again under their key; an unsafe one waits for a person."""
    hooks.otherwise = Reply(silent=True)
    jobs = {}
    for effect in EFFECTS:
        await stack.rows(
            "INSERT INTO tool_grant (tenant, tool, reason, granted_by, granted_at)"
            " VALUES (%s, %s, 'a test', 'tests', app_now()) RETURNING tool",
            stack.tenant, f"far.{effect}",
        )  # fmt: skip
        await stack.push(calling(effect))
        jobs[effect] = await stack.post_job(f"call_{effect}", {"n": 1})

    async def all_called() -> bool:
        return len(hooks.got) == len(EFFECTS)

    await until(all_called, what="each tool is in the middle of its call")
    stack.kill("worker")
    hooks.otherwise = Reply()
    await stack.start_worker()
    for effect in ("idempotent", "keyed"):
        end = await stack.ended(jobs[effect])
        assert (end.state, end.attempts) == ("succeeded", ["lost", "succeeded"])
        assert end.output == {"status": 200}

    async def parked() -> bool:
        _, view = await stack.call("GET", f"/v1/jobs/{jobs['unsafe']}")
        return bool(view["waiting_for"] == "intervention")

    await until(parked, what="the unsafe call waits for a person")
    keys = Counter(got.headers["idempotency-key"] for got in hooks.got)
    raw = {effect: await stack.raw(job) for effect, job in jobs.items()}
    assert keys == {
        f"{raw[effect].hex}:tell:0:0": 1 if effect == "unsafe" else 2 for effect in EFFECTS
    }
    assert await stack.value("SELECT count(*) FROM tool_call") == 1
