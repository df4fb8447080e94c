"""Step kinds, one module each: arguments in, a result out, facts beside it. No transaction is open.

model      one completion through the gateway
retrieve   passages of a collection
guard      pick, verify, conclude, condense: what makes a weak model's answer trustworthy
split      a long text into parts
transform  its value is its result
tool       one call of a tool
ingest     a document into chunks
bulk       cancel and retry: many jobs by a filter
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from app.execution.steps import bulk, guard, ingest, model, retrieve, split, tool, transform
from app.execution.steps.bench import Bench, Outcome
from app.workflows.definitions import ModelStep, PlainStep, SingleStep, ToolStep, TransformStep

__all__ = ["Bench", "Outcome", "run_step"]

_PLAIN: Final[dict[str, Callable[[Bench, dict[str, Any]], Awaitable[Outcome]]]] = {
    "retrieve": retrieve.run,
    "pick": guard.pick,
    "verify": guard.verify,
    "conclude": guard.conclude,
    "condense": guard.condense,
    "split": split.run,
    "ingest": ingest.run,
    "cancel": bulk.cancel,
    "retry": bulk.retry,
}


async def run_step(
    bench: Bench,
    step: SingleStep,
    name: str,
    item: int,
    arguments: dict[str, Any],
) -> Outcome:
    """Run one step. `name` and `item` are its place in the job, from which its effect key is made."""
    match step:
        case ModelStep():
            return await model.run(bench, step, name, item, arguments)
        case ToolStep():
            return await tool.run(bench, step, name, item, arguments)
        case TransformStep():
            return await transform.run(bench, arguments)
        case PlainStep():
            return await _PLAIN[step.kind](bench, arguments)
