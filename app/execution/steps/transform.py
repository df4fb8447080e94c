"""A transform: its value, with the expressions answered by the planner, is its result."""

from typing import Any

from app.execution.steps.bench import Bench, Outcome


async def run(bench: Bench, arguments: dict[str, Any]) -> Outcome:
    """Hand the value on."""
    return Outcome(arguments["value"])
