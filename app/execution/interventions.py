"""People's answers to calls in doubt: an unsafe call broke off, and nobody but them can find out what it did.

A job waits for `intervention` under no attempt, so nothing else writes what is read here.
"""

from collections.abc import Sequence
from typing import Any, Final, Literal

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.core import ids
from app.core.errors import Invalid, NotFound
from app.core.ids import JobId, TenantId
from app.jobs import endings, reads, transitions
from app.tools import calling, effects
from app.tools.errors import ToolOutputInvalid, ToolOutputTooLarge
from app.tools.models import ToolCall
from app.tools.registry import Registry

# done   it happened, and this is its result
# retry  it did not happen: make it again
# fail   the job is over; a retry of the job asks again
Answer = Literal["done", "retry", "fail"]
MAX_COMMENT: Final = 2_000


async def listed(session: AsyncSession, tenant: TenantId, job: JobId) -> Sequence[ToolCall]:
    """The calls in doubt of a job that waits for a person; of any other, none. Raises NotFound."""
    found = await reads.get(session, tenant, job)
    if found is None:
        raise NotFound("No such job.")
    if found.waiting_for != "intervention":
        return []
    return await effects.in_doubt(session, job)


async def answer(
    session: AsyncSession,
    tenant: TenantId,
    job: JobId,
    step: str,
    item: int,
    said: Answer,
    result: Any,
    *,
    tools: Registry,
    comment: str | None,
    actor: trail.Actor,
) -> None:
    """Say how a call in doubt ended; the job goes on, or has failed.

    Raises NotFound, JobNotWaiting, and Invalid where the result isn't one that the tool could have given.
    Locks the job, then the call.
    """
    await transitions.lock_waiting(session, tenant, job, "intervention")
    call = next(
        (one for one in await effects.in_doubt(session, job) if (one.step, one.item) == (step, item)),
        None,
    )  # fmt: skip
    if call is None:
        raise NotFound("No call of this step is in doubt.")
    error = None
    match said:
        case "done":
            await effects.declare(session, call.key, _fitting(tools, call.tool, result))
        case "retry":
            await effects.forget(session, call.key)
        case "fail":
            message = f"A person ended it: whether {call.tool} had its effect was in doubt."
            error = endings.fault("tool_in_doubt", message, step=step)
    told = {"answer": said, "step": step, "item": item, "tool": call.tool, "comment": comment}
    await transitions.answered(session, job, error=error, data=told)
    entry = trail.entry(
        tenant, actor=actor, action="job.answer", object=ids.wire("job", job),
        before={"status": "waiting"}, after=told, reason=comment,
    )  # fmt: skip
    await trail.append(session, entry)


def _fitting(tools: Registry, name: str, result: Any) -> Any:
    bound = tools.tools.get(name)
    if bound is None:
        return result
    try:
        return calling.checked(bound, result)
    except (ToolOutputInvalid, ToolOutputTooLarge) as fault:
        raise Invalid.at("/result", fault.message) from None
