"""The planner: which step is next? A pure function of the definition, the input and what is recorded.

A step is one of: recorded (skip it), not wanted (its condition is false: its result is null),
or next. There is no other state, so a resumed job can't tell that it was ever interrupted.
"""

from dataclasses import dataclass
from typing import Any

from app.workflows import expressions
from app.workflows.definitions import (
    AnyStep,
    Definition,
    InnerStep,
    MapStep,
    SingleStep,
    TransformStep,
)
from app.workflows.errors import ExpressionFailed

Recorded = dict[tuple[str, int], Any]  # (step, item) → result


@dataclass(frozen=True, slots=True)
class Run:
    """One step to run, its arguments resolved."""

    step: SingleStep
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fan:
    """The items of a map that are not recorded yet: (position, arguments of the inner step)."""

    step: MapStep
    inner: InnerStep
    total: int
    open: list[tuple[int, dict[str, Any]]]


@dataclass(frozen=True, slots=True)
class Done:
    """Nothing is left: the job's output."""

    output: Any


Next = Run | Fan | Done


def plan(definition: Definition, given: Any, recorded: Recorded) -> Next:
    """What a job does next. Raises ExpressionFailed where an expression meets data it doesn't fit."""
    results: dict[str, Any] = {}
    scope: dict[str, Any] = {"input": given, "steps": results}
    for step in definition.steps:
        if isinstance(step, MapStep):
            if step.when is not None and not expressions.truthy(step.when, scope):
                results[step.id] = None
                continue
            fan = _fan(step, scope, recorded)
            if fan.open:
                return fan
            results[step.id] = [recorded[step.id, item] for item in range(fan.total)]
        elif (step.id, 0) in recorded:
            results[step.id] = recorded[step.id, 0]
        elif step.when is not None and not expressions.truthy(step.when, scope):
            results[step.id] = None
        else:
            return Run(step, _arguments(step, scope))
    return Done(expressions.resolve(definition.output, scope))


def _fan(step: MapStep, scope: dict[str, Any], recorded: Recorded) -> Fan:
    items = expressions.resolve(step.over, scope)
    if not isinstance(items, list):
        raise ExpressionFailed(f"{step.id}: over is not a list", expression=step.over)
    if len(items) > step.max_items:
        message = f"{step.id}: {len(items)} items, at most {step.max_items} are allowed"
        raise ExpressionFailed(message, expression=step.over)
    missing = [place for place in range(len(items)) if (step.id, place) not in recorded]
    return Fan(
        step, step.step, len(items),
        [(place, _arguments(step.step, scope | {"item": items[place], "index": place})) for place in missing],
    )  # fmt: skip


def _arguments(step: AnyStep, scope: dict[str, Any]) -> dict[str, Any]:
    arguments: dict[str, Any] = expressions.resolve(step.given, scope)
    if isinstance(step, TransformStep):
        arguments = {"value": expressions.resolve(step.value, scope)}
    return arguments
