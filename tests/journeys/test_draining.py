"""A worker is drained while it works, then takes its share again: with every process real."""

import asyncio
import json
import sys
from typing import Any

from app.core import ids
from tests.fakes.provider import Answer, Provider
from tests.journeys.test_recovery import in_step, let_go
from tests.stack import ROOT, Stack
from tests.waiting import until


async def admin(stack: Stack, *words: str) -> Any:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.cli", "admin", *words, "--json",
        cwd=ROOT, env=stack.env, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(out.splitlines()[-1])


async def said(stack: Stack, label: str, event: str) -> None:
    """Wait until a process has logged this."""

    async def there() -> bool:
        return event in (stack.folder / f"{label}.log").read_text()

    await until(there, what=f"{label} says {event}")


async def workers_of(stack: Stack, jobs: list[str]) -> set[str]:
    raw = [await stack.raw(job) for job in jobs]
    rows = await stack.rows("SELECT DISTINCT worker FROM attempt WHERE job = ANY (%s)", raw)
    return {ids.wire("wrk", row["worker"]) for row in rows}


async def state_of(stack: Stack, worker: str) -> str:
    found = (await admin(stack, "workers"))["data"]
    return next(str(one["state"]) for one in found if one["id"] == worker)


async def test_a_drained_worker_finishes_what_it_has_and_takes_nothing_new(
    stack: Stack, fake: Provider
) -> None:
    first = ids.wire("wrk", await stack.value("SELECT id FROM worker"))
    fake.script = [Answer(held=True)]
    mine = await stack.post_job("three_steps")
    await in_step(fake, 1)
    made = await admin(stack, "drain", "worker", first, "--reason", "a new kernel")
    assert (made["running"], made["empty"]) == (1, False)
    await said(stack, "worker", "worker.held")
    await stack.start_worker("second")
    second = ids.wire("wrk", await stack.value("SELECT id FROM worker ORDER BY id DESC LIMIT 1"))
    others = [await stack.post_job("three_steps") for _ in range(5)]
    assert {(await stack.ended(job)).state for job in others} == {"succeeded"}
    assert await workers_of(stack, others) == {second}
    assert await state_of(stack, first) == "held"
    let_go(fake)
    end = await stack.ended(mine)
    assert (end.state, end.attempts) == ("succeeded", ["succeeded"])
    assert await workers_of(stack, [mine]) == {first}
    assert await state_of(stack, first) == "drained"

    await admin(stack, "resume", "worker", first, "--reason", "done")
    await said(stack, "worker", "worker.let_go")
    await admin(stack, "pause", "worker", second, "--reason", "its turn")
    await said(stack, "second", "worker.held")
    again = [await stack.post_job("three_steps") for _ in range(3)]
    assert {(await stack.ended(job)).state for job in again} == {"succeeded"}
    assert await workers_of(stack, again) == {first}
