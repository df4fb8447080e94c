"""Schedules as their tenant keeps them, and the runs that they made."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter
from sqlalchemy import delete as deleting
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.audit.actions import Action
from app.core import ids, lists
from app.core.errors import Invalid, NotFound
from app.core.ids import KeyId, RunId, ScheduleId, TenantId
from app.core.lists import Page
from app.intake.admission import JobSpec
from app.schedules import timing
from app.schedules.config import SchedulesConfig
from app.schedules.errors import ScheduleExists
from app.schedules.models import Schedule, ScheduleRun
from app.schedules.timing import Rule

RUNS_KEPT: Final = 100  # of a schedule, beside those that still wait

# A job's own times, and what its request brought along, are not a schedule's business.
_ONCE: Final = {"run_at", "deadline_at", "traceparent", "callback"}
_SPEC: Final = TypeAdapter(JobSpec)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a tenant wants of a schedule."""

    name: str
    cron: str
    job: JobSpec
    time_zone: str = "UTC"
    missed_runs: timing.Missed = "run_once"
    overlap: str = "skip"
    jitter_seconds: int = 0
    paused: bool = False

    @property
    def rule(self) -> Rule:
        """When it fires."""
        return Rule(self.cron, self.time_zone, self.jitter_seconds)


@dataclass(frozen=True, slots=True)
class Kept:
    """A schedule as it is. `next_run_at` has its jitter; None while it is paused."""

    id: ScheduleId
    wish: Wish
    next_run_at: datetime | None
    created_at: datetime
    updated_at: datetime


async def create(
    session: AsyncSession,
    config: SchedulesConfig,
    tenant: TenantId,
    schedule: ScheduleId,
    wish: Wish,
    *,
    key: KeyId,
    actor: trail.Actor,
) -> Kept:
    """Make a schedule under an id made before. Its job has been checked by admission.

    `key` is whose limits its jobs count to. Raises Invalid, ScheduleExists.
    """
    await _free(session, tenant, wish.name)
    held = select(func.count()).where(Schedule.tenant == tenant)
    if await session.scalar(held) >= config.per_tenant:  # type: ignore[operator]  # count() is never NULL
        raise Invalid(f"A tenant may have {config.per_tenant} schedules; delete one first.")
    now = await _now(session)
    row = _columns(wish) | _times(wish, schedule, now, config)
    row |= {"id": schedule, "tenant": tenant, "key": key, "created_at": now, "updated_at": now}
    try:
        await session.execute(insert(Schedule).values(row))
    except IntegrityError as fault:  # made by another request meanwhile
        raise ScheduleExists("Another schedule has this name.") from fault
    await _audit(session, tenant, schedule, "schedule.create", actor, after=_told(wish))
    return await get(session, tenant, schedule)


async def change(
    session: AsyncSession,
    config: SchedulesConfig,
    tenant: TenantId,
    schedule: ScheduleId,
    given: Mapping[str, Any],
    *,
    actor: trail.Actor,
) -> Kept:
    """Change what is given, members of Wish; the next time is then found anew, from now on.

    A pause gives up the runs that wait. Raises NotFound, Invalid, ScheduleExists. Locks the schedule.
    """
    row = await _row(session, tenant, schedule, lock=True)
    before = seen(row).wish
    wish = replace(before, **given)
    if wish == before:
        return seen(row)
    if wish.name != before.name:
        await _free(session, tenant, wish.name)
    now = await _now(session)
    values = _columns(wish) | {"updated_at": now}
    if (wish.rule, wish.paused) != (before.rule, before.paused):
        values |= _times(wish, schedule, now, config)
    await session.execute(update(Schedule).where(Schedule.id == schedule).values(values))
    if wish.paused:
        await session.execute(
            update(ScheduleRun)
            .where(ScheduleRun.schedule == schedule, ScheduleRun.outcome == "pending")
            .values(outcome="skipped", detail="the schedule was paused", at=now)
        )
    old, new = _told(before), _told(wish)
    changed = {name for name in new if new[name] != old[name]}
    await _audit(
        session, tenant, schedule, "schedule.change", actor,
        before={name: old[name] for name in changed}, after={name: new[name] for name in changed},
    )  # fmt: skip
    return await get(session, tenant, schedule)


async def delete(
    session: AsyncSession, tenant: TenantId, schedule: ScheduleId, *, actor: trail.Actor
) -> None:
    """Delete a schedule and the record of its runs; their jobs stay. Raises NotFound. Locks the schedule."""
    row = await _row(session, tenant, schedule, lock=True)
    await session.execute(deleting(ScheduleRun).where(ScheduleRun.schedule == schedule))
    await session.execute(deleting(Schedule).where(Schedule.id == schedule))
    told = _told(seen(row).wish)
    await _audit(session, tenant, schedule, "schedule.delete", actor, before=told)


async def get(session: AsyncSession, tenant: TenantId, schedule: ScheduleId) -> Kept:
    """One schedule. Raises NotFound."""
    return seen(await _row(session, tenant, schedule))


async def listed(
    session: AsyncSession, tenant: TenantId, *, limit: int, cursor: str | None = None
) -> Page[Kept]:
    """The tenant's schedules, newest first. Raises Invalid for the cursor."""
    asked = select(Schedule).where(Schedule.tenant == tenant)
    if cursor is not None:
        asked = asked.where(Schedule.id < _after(cursor))
    found = list(await session.scalars(asked.order_by(Schedule.id.desc()).limit(limit + 1)))
    items = [seen(row) for row in found[:limit]]
    return Page(items, lists.cursor(items[-1].id) if len(found) > limit else None)


async def runs(
    session: AsyncSession,
    tenant: TenantId,
    schedule: ScheduleId,
    *,
    limit: int,
    cursor: str | None = None,
) -> Page[ScheduleRun]:
    """What a schedule did, newest first. Raises NotFound, and Invalid for the cursor."""
    await _row(session, tenant, schedule)
    asked = select(ScheduleRun).where(
        ScheduleRun.tenant == tenant, ScheduleRun.schedule == schedule
    )
    if cursor is not None:
        asked = asked.where(ScheduleRun.id < _after(cursor))
    found = list(await session.scalars(asked.order_by(ScheduleRun.id.desc()).limit(limit + 1)))
    items = found[:limit]
    return Page(items, lists.cursor(items[-1].id) if len(found) > limit else None)


async def find_run(session: AsyncSession, tenant: TenantId, run: RunId) -> ScheduleRun:
    """One run. Raises NotFound."""
    found = await session.scalar(
        select(ScheduleRun).where(ScheduleRun.tenant == tenant, ScheduleRun.id == run)
    )
    if found is None:
        raise NotFound("No such run.")
    return found


async def trim(session: AsyncSession, schedule: ScheduleId) -> None:
    """Forget the oldest runs of a schedule."""
    oldest = (
        select(ScheduleRun.id)
        .where(ScheduleRun.schedule == schedule)
        .order_by(ScheduleRun.id.desc())
        .offset(RUNS_KEPT)
        .limit(1)
        .scalar_subquery()
    )
    await session.execute(
        deleting(ScheduleRun).where(
            ScheduleRun.schedule == schedule,
            ScheduleRun.id <= oldest,
            ScheduleRun.outcome != "pending",
        )
    )


def seen(row: Schedule) -> Kept:
    """A schedule as it is read."""
    wish = Wish(
        row.name, row.cron, spec(row.job), row.time_zone, row.missed_runs,  # type: ignore[arg-type]  # a CHECK
        row.overlap, row.jitter_seconds, row.paused_at is not None,
    )  # fmt: skip
    return Kept(row.id, wish, row.fire_at, row.created_at, row.updated_at)


def spec(stored: Mapping[str, Any]) -> JobSpec:
    """The job of each run, from its column."""
    return _SPEC.validate_python(stored)


def wire(schedule: ScheduleId) -> str:
    """The public id of a schedule."""
    return ids.wire("sch", schedule)


async def _row(
    session: AsyncSession, tenant: TenantId, schedule: ScheduleId, *, lock: bool = False
) -> Schedule:
    asked = select(Schedule).where(Schedule.tenant == tenant, Schedule.id == schedule)
    if lock:
        asked = asked.with_for_update()
    # Rows are not identities here: what another statement of this transaction changed must be seen.
    row = await session.scalar(asked.execution_options(populate_existing=True))
    if row is None:
        raise NotFound("No such schedule.")
    return row


async def _free(session: AsyncSession, tenant: TenantId, name: str) -> None:
    taken = select(Schedule.id).where(Schedule.tenant == tenant, Schedule.name == name)
    found = await session.scalar(taken)
    if found is not None:
        raise ScheduleExists("Another schedule has this name.", schedule=wire(found))


async def _now(session: AsyncSession) -> datetime:
    now: datetime = (await session.execute(select(func.app_now()))).scalar_one()
    return now


def _columns(wish: Wish) -> dict[str, Any]:
    kept = {name: value for name, value in asdict(wish).items() if name not in ("job", "paused")}
    return kept | {"job": _SPEC.dump_python(wish.job, mode="json", exclude=_ONCE)}


def _times(
    wish: Wish, schedule: ScheduleId, now: datetime, config: SchedulesConfig
) -> dict[str, Any]:
    """When it is due next, from now on. Raises Invalid."""
    timing.check(wish.rule, now, config.min_period)
    if wish.paused:
        return {"due_at": None, "fire_at": None, "paused_at": now}
    due = next(timing.upcoming(wish.rule, now))
    fire = timing.shifted(wish.rule, schedule, due)
    return {"due_at": due, "fire_at": fire, "paused_at": None}


def _told(wish: Wish) -> dict[str, Any]:
    """What the trail keeps: not the job's input, which may hold a customer's text."""
    job = wish.job
    return {name: value for name, value in asdict(wish).items() if name != "job"} | {
        "workflow": job.workflow if job.version is None else f"{job.workflow}@{job.version}",
        "lane": job.lane, "priority": job.priority, "max_cost_nanousd": job.max_cost_nanousd,
    }  # fmt: skip


async def _audit(
    session: AsyncSession,
    tenant: TenantId,
    schedule: ScheduleId,
    action: Action,
    actor: trail.Actor,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    entry = trail.entry(
        tenant, actor=actor, action=action, object=wire(schedule), before=before, after=after
    )
    await trail.append(session, entry)


def _after(cursor: str) -> Any:
    last = lists.after(cursor)
    if last is None:
        raise Invalid.at("/cursor", "is not a cursor of this list")
    return last
