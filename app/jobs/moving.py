"""Jobs that wait are moved: to another lane, to another priority. What a worker has, or is about to, stays."""

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.core import ids, statements
from app.core.db import Database
from app.core.errors import Invalid, NotFound
from app.core.ids import JobId, TenantId
from app.jobs import states
from app.jobs.errors import JobNotWaiting

BATCH: Final = 500  # jobs a commit
MOST: Final = 10_000  # jobs a call; who has more calls again
MOVABLE: Final = ("scheduled", "queued", "waiting")

_MOVE: Final = statements.load(__file__, "move")
_MOVABLE: Final = statements.load(__file__, "movable")


@dataclass(frozen=True, slots=True)
class Place:
    """Where jobs go. None leaves as it is."""

    lane: str | None = None
    priority: int | None = None


@dataclass(frozen=True, slots=True)
class Which:
    """Which of the jobs that wait. None: whichever."""

    tenant: TenantId | None = None
    workflow: str | None = None
    tag: str | None = None
    lane: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True)
class Moved:
    """What became of many: `kept` were released or ended while they were looked at; there may be `more`."""

    moved: int
    kept: int
    more: bool


async def move(
    session: AsyncSession,
    tenant: TenantId,
    job: JobId,
    place: Place,
    *,
    head_start: timedelta,
    actor: trail.Actor,
    reason: str | None = None,
) -> None:
    """Move one job of a tenant. One that stands there already stays. Locks the job.

    Raises NotFound, Invalid, JobNotWaiting where a worker has it, is about to, or it has ended.
    """
    _check(place)
    rows = await _rows(session, [job], place, head_start, tenant)
    if not rows:
        raise NotFound("No such job.")
    row = rows[0]
    if row.state not in MOVABLE:
        raise JobNotWaiting(_said(row.state), status=states.SHOWN[row.state])
    if row.moved:
        before = {"lane": row.old_lane, "priority": row.old_priority}
        after = {"lane": row.lane, "priority": row.priority}
        entry = trail.entry(
            tenant, actor=actor, action="job.move", object=ids.wire("job", job), before=before,
            after=after, reason=reason,
        )  # fmt: skip
        await trail.append(session, entry)


async def move_many(
    db: Database,
    which: Which,
    place: Place,
    *,
    head_start: timedelta,
    actor: trail.Actor,
    reason: str,
    most: int = MOST,
) -> Moved:
    """Move up to `most` jobs, BATCH a commit, each with an entry in the chain of every tenant it concerns.

    Raises Invalid, also for a filter that leaves out nothing.
    """
    _check(place)
    if which == Which():
        raise Invalid("Say which jobs: by tenant, workflow, tag, lane or status.")
    if which.status is not None and which.status not in MOVABLE:
        raise Invalid.at("/status", f"one of {', '.join(MOVABLE)}")
    moved = kept = 0
    while moved + kept < most:
        batch = min(BATCH, most - moved - kept)
        async with db.transaction() as session:
            found = await _candidates(session, which, place, batch)
            rows = await _rows(session, found, place, head_start)
            gone = Counter(row.tenant for row in rows if row.moved)
            entries = [
                _entry(tenant, count, which, place, actor, reason)
                for tenant, count in sorted(gone.items())
            ]
            if entries:
                await trail.append(session, *entries)
        moved += gone.total()
        kept += len(found) - gone.total()
        if len(found) < batch:
            return Moved(moved, kept, more=False)
    return Moved(moved, kept, more=True)


async def _candidates(session: AsyncSession, which: Which, place: Place, batch: int) -> list[JobId]:
    bind = {
        "tenant": which.tenant, "workflow": which.workflow, "tag": which.tag, "lane": which.lane,
        "state": which.status, "to_lane": place.lane, "to_priority": place.priority, "batch": batch,
    }  # fmt: skip
    return list(await session.scalars(_MOVABLE.text, bind))


async def _rows(
    session: AsyncSession,
    jobs: list[JobId],
    place: Place,
    head_start: timedelta,
    tenant: TenantId | None = None,
) -> list[Any]:
    bind = {
        "jobs": jobs,
        "tenant": tenant,
        "lane": place.lane,
        "priority": place.priority,
        "head_start": head_start,
    }
    return list(await session.execute(_MOVE.text, bind))


def _check(place: Place) -> None:
    if place == Place():
        raise Invalid("Say where to: a lane, a priority, or both.")
    if place.lane is not None and place.lane not in states.LANES:
        raise Invalid.at("/lane", f"one of {', '.join(states.LANES)}")
    if place.priority is not None and not 0 <= place.priority <= 9:
        raise Invalid.at("/priority", "from 0 to 9")


def _said(state: str) -> str:
    if state in states.TERMINAL:
        return f"The job has {state} already."
    return "A worker has the job, or it is on its way to one: it stays where it is."


def _entry(
    tenant: TenantId, count: int, which: Which, place: Place, actor: trail.Actor, reason: str
) -> trail.NewEntry:
    asked = {name: value for name, value in asdict(which).items() if value is not None}
    if which.tenant is not None:
        asked["tenant"] = ids.wire("ten", which.tenant)
    goes = {name: value for name, value in asdict(place).items() if value is not None}
    return trail.entry(
        tenant, actor=actor, action="job.move", object=ids.wire("ten", tenant), before=asked,
        after=goes | {"jobs": count}, reason=reason,
    )  # fmt: skip
