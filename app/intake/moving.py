"""A client moves one of its own jobs: into a lane that takes jobs in, as if it came now."""

from app.core.errors import TowpathError
from app.core.ids import JobId
from app.intake.admission import Asker, Desk
from app.jobs import moving
from app.jobs.moving import Place
from app.switches import pauses


async def move(desk: Desk, asker: Asker, job: JobId, place: Place) -> None:
    """Move a job that waits to another lane or priority.

    Raises NotFound, Invalid, JobNotWaiting, and for a lane: Draining, QueueFull, Overloaded.
    """
    if place.lane is not None:
        pauses.refuse(await desk.drained.get(None), asker.tenant, place.lane, "")
        await desk.backlog.enter(asker.tenant, asker.limits, place.lane, desk.group.pending)
    try:
        async with desk.db.transaction() as session:
            await moving.move(
                session, asker.tenant, job, place, head_start=desk.config.head_start,
                actor=asker.actor,
            )  # fmt: skip
    except TowpathError:
        if place.lane is not None:
            desk.backlog.leave(asker.tenant, place.lane)
        raise
