"""A tool step: one call of a tool, its arguments resolved."""

from typing import Any

from app.execution.steps.bench import Bench, Outcome
from app.tools import calling
from app.tools.calling import Place
from app.workflows.definitions import ToolStep


async def run(
    bench: Bench, step: ToolStep, name: str, item: int, arguments: dict[str, Any]
) -> Outcome:
    """Call the tool, or read what it gave before a crash. Its result is the step's."""
    claimed = bench.claimed
    place = Place(
        claimed.tenant, claimed.job, claimed.attempt, name, item,
        deadline=claimed.deadline_at, traceparent=claimed.traceparent,
    )  # fmt: skip
    answer = await calling.call(
        bench.runtime.tools, place, step.tool, arguments, seconds=step.timeout_seconds
    )
    facts: dict[str, Any] = {
        "tool": answer.tool, "tool_version": answer.version, "effect": answer.effect,
        "tool_calls": answer.tries,
    }  # fmt: skip
    if answer.effect != "idempotent":
        facts |= {"once": True, "recorded": answer.recorded}
    return Outcome(answer.result, facts)
