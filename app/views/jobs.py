"""A job as its tenant sees it: its row with what it used, how it came about, and its place in the queue."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.budgets.models import Reservation
from app.core import clock, statements
from app.core.errors import NotFound
from app.core.ids import JobId, TenantId
from app.core.lists import Page
from app.intake import backlog
from app.jobs import reads, states
from app.jobs.models import Job, JobEvent
from app.usage.models import UsageLine
from app.workflows import checkpoints
from app.workflows.models import Step

_USAGE: Final = statements.load(__file__, "job_usage")
_FACTS: Final = statements.load(__file__, "job_facts")
FARTHEST: Final = 10 * 365 * 86_400.0  # seconds; beyond it a time has no form on the wire


@dataclass(frozen=True, slots=True)
class Used:
    """What model calls used and cost, in all; and how many calls of tools its recorded steps took."""

    calls: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nanousd: int = 0
    tool_calls: int = 0


@dataclass(frozen=True, slots=True)
class Provenance:
    """How a result came about, from the facts of the steps that were recorded."""

    prompts: list[str] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    routes: list[str] = field(default_factory=list)
    corpus: dict[str, int] = field(default_factory=dict)  # collection → the version it was read at
    cache: dict[str, int] = field(default_factory=dict)  # outcome → steps
    tools: list[str] = field(default_factory=list)  # name@version


@dataclass(frozen=True, slots=True)
class JobView:
    """One job. `queue_position` is None where it isn't queued, and in lists; `estimated_start_at` as well,
    and where nothing of its tenant was released lately.
    """

    job: Job
    used: Used
    provenance: Provenance
    queue_position: int | None = None
    estimated_start_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """Every call of a job that money was set aside for, and the usage lines that it ended in."""

    holds: list[Reservation]
    lines: list[UsageLine]
    used: Used


@dataclass(frozen=True, slots=True)
class Happened:
    """Events of a job after a place, and whether the last of them ends it for good."""

    events: list[JobEvent]
    ended: bool


async def get(session: AsyncSession, tenant: TenantId, job: JobId) -> JobView:
    """One job of a tenant. Raises NotFound."""
    found = await _owned(session, tenant, job)
    used, provenance = (await _seen(session, [job]))[job]
    where = await place(session, found)
    return JobView(found, used, provenance, *where)


async def place(session: AsyncSession, job: Job) -> tuple[int | None, datetime | None]:
    """A job's place in the queue and when it may start: `queue_position` and `estimated_start_at` of a view."""
    position = await reads.queue_position(session, job)
    return position, None if position is None else await _starts_at(session, job, position)


async def _starts_at(session: AsyncSession, job: Job, position: int) -> datetime | None:
    level = await backlog.level(session, job.tenant, job.lane)
    seconds = backlog.wait_seconds(position, level)
    return None if seconds is None else clock.now() + timedelta(seconds=min(seconds, FARTHEST))


async def listed(
    session: AsyncSession, tenant: TenantId, narrow: reads.Filter, *, cursor: str | None, limit: int
) -> Page[JobView]:
    """A page of a tenant's jobs, newest first, without their places in the queue."""
    page = await reads.listed(session, tenant, narrow, cursor=cursor, limit=limit)
    jobs = [job.id for job in page.items]
    seen = await _seen(session, jobs)
    views = [JobView(job, *seen[job.id]) for job in page.items]
    return Page(views, page.next_cursor)


async def steps(session: AsyncSession, tenant: TenantId, job: JobId) -> list[Step]:
    """Every recorded step and try of a job, in the order in which they ended. Raises NotFound."""
    await _owned(session, tenant, job)
    return await checkpoints.listed(session, job)


async def happened(
    session: AsyncSession, tenant: TenantId, job: JobId, *, after: int, limit: int
) -> Happened:
    """What happened to a job after the event `after`. Raises NotFound.

    The events are read first: a job that has ended by the second read has told all of them by then,
    or the last one read is older than its newest and the next call goes on from there.
    """
    events = await reads.events(session, job, after=after, limit=limit)
    found = await _owned(session, tenant, job)
    last = events[-1].seq if events else after
    return Happened(events, found.state in states.TERMINAL and last >= found.event_seq)


async def receipt(session: AsyncSession, tenant: TenantId, job: JobId) -> Receipt:
    """What a job was charged, call by call. Raises NotFound."""
    await _owned(session, tenant, job)
    holds = select(Reservation).where(Reservation.job == job).order_by(Reservation.id)
    lines = select(UsageLine).where(UsageLine.job == job).order_by(UsageLine.id)
    return Receipt(
        list((await session.scalars(holds)).all()),
        list((await session.scalars(lines)).all()),
        (await _seen(session, [job]))[job][0],
    )


async def _owned(session: AsyncSession, tenant: TenantId, job: JobId) -> Job:
    found = await reads.get(session, tenant, job)
    if found is None:
        raise NotFound("No such job.")
    return found


async def _seen(
    session: AsyncSession, jobs: Sequence[JobId]
) -> dict[JobId, tuple[Used, Provenance]]:
    """What each of these jobs used, and how it came about."""
    rows = await session.execute(_USAGE.text, {"jobs": list(jobs)})
    used = {JobId(job): Used(*sums) for job, *sums in rows}
    facts: dict[JobId, list[Any]] = {}
    for row in await session.execute(_FACTS.text, {"jobs": list(jobs)}):
        facts.setdefault(JobId(row.job), []).append(row)
    return {
        job: (
            replace(used.get(job, Used()), tool_calls=sum(row.tool_calls for row in facts.get(job, ()))),
            _provenance_of(facts.get(job, ())),
        )
        for job in jobs
    }  # fmt: skip


def _provenance_of(rows: Sequence[Any]) -> Provenance:
    caches: Counter[str] = Counter()
    for row in rows:
        if row.cache is not None:
            caches[row.cache] += row.steps
    return Provenance(
        prompts=sorted({row.prompt for row in rows if row.prompt}),
        models=sorted({f"{row.provider}/{row.model}" for row in rows if row.model}),
        routes=sorted({row.route for row in rows if row.route}),
        corpus={row.collection: row.corpus_version for row in rows if row.collection},
        cache=dict(sorted(caches.items())),
        tools=sorted({f"{row.tool}@{row.tool_version}" for row in rows if row.tool}),
    )
