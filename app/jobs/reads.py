"""Reads of jobs and their events. They hold no snapshot longer than one statement."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import lists
from app.core.ids import JobId, TenantId
from app.core.lists import Page
from app.jobs import states
from app.jobs.models import Job, JobEvent

POSITION_CAP: Final = (
    10_000  # a place further back is told as this: counting it would cost more than it tells
)


@dataclass(frozen=True, slots=True)
class Filter:
    """What a list of jobs is narrowed to. `status` is a state as the API shows it."""

    status: str | None = None
    workflow: str | None = None
    lane: str | None = None
    tag: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    error_code: str | None = None  # what it failed or expired with


async def get(session: AsyncSession, tenant: TenantId, job: JobId) -> Job | None:
    """A tenant's job, or None: another tenant's is not there either."""
    query = select(Job).where(Job.tenant == tenant, Job.id == job)
    return (await session.execute(query)).scalar_one_or_none()


async def states_of(session: AsyncSession, jobs: Sequence[JobId]) -> dict[JobId, str]:
    """The states of jobs by id, whoever's they are: for waiters that have looked at the tenant before."""
    query = select(Job.id, Job.state).where(Job.id.in_(jobs))
    return {row.id: row.state for row in await session.execute(query)}


async def listed(
    session: AsyncSession, tenant: TenantId, narrow: Filter, *, cursor: str | None, limit: int
) -> Page[Job]:
    """Jobs of a tenant, newest first. An unknown cursor starts at the beginning of nothing: an empty page."""
    query = select(Job).where(Job.tenant == tenant)
    if narrow.status is not None:
        behind = [state for state, shown in states.SHOWN.items() if shown == narrow.status]
        query = query.where(Job.state.in_(behind))
    if narrow.workflow is not None:
        query = query.where(Job.workflow == narrow.workflow)
    if narrow.lane is not None:
        query = query.where(func.coalesce(Job.home_lane, Job.lane) == narrow.lane)
    if narrow.tag is not None:
        query = query.where(Job.tags.contains([narrow.tag]))
    if narrow.error_code is not None:
        query = query.where(Job.error.op("->>")("code") == narrow.error_code)
    if narrow.created_after is not None:
        query = query.where(Job.created_at > narrow.created_after)
    if narrow.created_before is not None:
        query = query.where(Job.created_at < narrow.created_before)
    if cursor is not None:
        last = lists.after(cursor)
        if last is None:
            return Page([], None)
        query = query.where(Job.id < last)
    found = list((await session.scalars(query.order_by(Job.id.desc()).limit(limit + 1))).all())
    more = len(found) > limit
    return Page(found[:limit], lists.cursor(found[limit - 1].id) if more else None)


async def events(
    session: AsyncSession, job: JobId, *, after: int = 0, limit: int = 500
) -> list[JobEvent]:
    """Events of a job after a `seq`, in order."""
    query = (
        select(JobEvent)
        .where(JobEvent.job == job, JobEvent.seq > after)
        .order_by(JobEvent.seq)
        .limit(limit)
    )
    return list((await session.scalars(query)).all())


async def queue_position(session: AsyncSession, job: Job) -> int | None:
    """A queued job's place in its tenant's lane, from 1, counted up to POSITION_CAP. None where it isn't queued."""
    if states.SHOWN[job.state] != "queued":
        return None
    ahead = (
        select(Job.id)
        .where(
            Job.lane == job.lane, Job.bucket == job.bucket, Job.tenant == job.tenant,
            Job.state == "queued",
            (Job.rank < job.rank) | ((Job.rank == job.rank) & (Job.id < job.id)),
        )
        .limit(POSITION_CAP - 1)
        .subquery()
    )  # fmt: skip
    return 1 + int((await session.execute(select(func.count()).select_from(ahead))).scalar_one())
