"""Firing: due times become runs, and runs become jobs, each once whatever dies in between.

First a due time is written down as a pending run, in the commit that moves the schedule on. Then its job is
admitted, as a client's would be, under the run's own id: a pending run that is met again, after a crash, finds
the job that was made. A refusal is kept with the run and told in the trail.
"""

import asyncio
import contextlib
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.core import clock, ids, statements
from app.core.errors import Invalid, TowpathError, Unavailable
from app.core.ids import JobId, RunId, ScheduleId, TenantId
from app.intake import admission
from app.intake.admission import Asker, Desk, JobSpec
from app.jobs import transitions
from app.jobs.errors import JobFinished
from app.schedules import book, timing
from app.schedules.config import SchedulesConfig
from app.schedules.models import Schedule, ScheduleRun
from app.schedules.timing import Plan, Rule
from app.tenants import limits
from app.tenants.models import Tenant
from app.webhooks import endpoints

BATCH: Final = 100  # schedules, or runs, a pass
MAX_WAITING: Final = 100  # runs of one schedule that wait for their turn

_READY: Final = statements.load(__file__, "ready")
_OF: Final = "towpath.schedule"  # in the job's metadata: what it comes from, and for which time
_FOR: Final = "towpath.due_at"


@dataclass(frozen=True, slots=True)
class Decided:
    """What a run became."""

    outcome: str
    job: JobId | None = None
    code: str | None = None
    detail: str | None = None


async def step(desk: Desk, config: SchedulesConfig) -> int:
    """One pass: write down what is due, admit what waits for it. Gives how much it did."""
    planned = await _write_down(desk, config)
    async with desk.db.transaction() as session:
        ready = (await session.execute(_READY.text, {"batch": BATCH})).all()
    decided = await asyncio.gather(*[_decided(desk, row) for row in ready])
    known = [(row, one) for row, one in zip(ready, decided, strict=True) if one is not None]
    async with desk.db.transaction() as session:
        for row, one in known:
            await _keep(session, row, one)
    return planned + len(known)


async def run_now(
    desk: Desk, asker: Asker, schedule: ScheduleId, *, key: str | None
) -> tuple[RunId, bool]:
    """Admit a schedule's job at once, by hand, whatever its clock says. Gives the run, and whether it was there.

    The same key answers with the first run. Raises NotFound, and what admission raises.
    """
    async with desk.db.transaction() as session:
        kept = await book.get(session, asker.tenant, schedule)
    spec = _named(await _with_endpoint(desk, asker.tenant, kept.wish.job), schedule, None)
    # No client's key has a space: this one is the schedule's own.
    intent = None if key is None else f"run {book.wire(schedule)} {key}"
    admitted = await admission.admit(desk, asker, spec, key=intent)
    async with desk.db.transaction() as session:
        now = await session.scalar(select(func.app_now()))
        # A job that another run has made already, by its unique key, is this one's too.
        id_ = RunId(ids.new() if admitted.outcome == "existing" else admitted.job)
        row = {
            "id": id_, "tenant": asker.tenant, "schedule": schedule, "due_at": now, "by_hand": True,
            "outcome": "admitted", "job": admitted.job, "at": now,
        }  # fmt: skip
        await session.execute(insert(ScheduleRun).values(row).on_conflict_do_nothing())
        await book.trim(session, schedule)
    return id_, admitted.outcome == "replayed"


async def _write_down(desk: Desk, config: SchedulesConfig) -> int:
    """Due times as pending runs. Gives how many schedules were due. Locks them, and skips who is locked."""
    due = (
        select(Schedule, func.app_now())
        .join(Tenant, Tenant.id == Schedule.tenant)
        .where(Schedule.fire_at <= func.app_now(), Tenant.state == "active")
        .order_by(Schedule.fire_at)
        .limit(BATCH)
        .with_for_update(of=Schedule, skip_locked=True)
    )
    async with desk.db.transaction() as session:
        found = [(row, now) for row, now in (await session.execute(due)).all()]
        # After a long outage a plan counts thousands of times: not in the loop of the dispatcher.
        plans = await asyncio.to_thread(lambda: [_plan(row, now, config) for row, now in found])
        for (row, now), plan in zip(found, plans, strict=True):
            await _move_on(session, row, now, plan)
    return len(found)


def _plan(row: Schedule, now: datetime, config: SchedulesConfig) -> Plan:
    wish = book.seen(row).wish
    if row.due_at is None:
        raise ValueError("a schedule that is due has a time")
    return timing.plan(
        wish.rule, row.id, row.due_at, now, missed=wish.missed_runs, late=config.late
    )


async def _move_on(session: AsyncSession, row: Schedule, now: datetime, plan: Plan) -> None:
    waiting = select(func.count()).where(
        ScheduleRun.schedule == row.id, ScheduleRun.outcome == "pending"
    )
    room = MAX_WAITING - (await session.execute(waiting)).scalar_one()
    kept = {"tenant": row.tenant, "schedule": row.id, "at": now}
    made: list[dict[str, Any]] = []
    if plan.given_up is not None:
        gone = plan.given_up
        made.append(
            {"due_at": gone.at, "outcome": "missed", "missed": gone.missed - 1, "detail": None}
        )
    for place, due in enumerate(plan.run):
        fits = place < room
        made.append({
            "due_at": due.at, "outcome": "pending" if fits else "skipped", "missed": due.missed,
            "detail": None if fits else f"{MAX_WAITING} runs wait already",
        })  # fmt: skip
    if made:
        rows = [one | kept | {"id": ids.new()} for one in made]
        await session.execute(insert(ScheduleRun).values(rows))
    next_at = plan.next_at
    times: dict[str, Any] = {
        "due_at": None,
        "fire_at": None,
        "paused_at": now,
    }  # it never comes again
    if next_at is not None:
        rule = Rule(row.cron, row.time_zone, row.jitter_seconds)
        fire_at = timing.shifted(rule, row.id, next_at)
        times = {"due_at": next_at, "fire_at": fire_at}
    await session.execute(update(Schedule).where(Schedule.id == row.id).values(times))
    await book.trim(session, row.id)


async def _decided(desk: Desk, row: Any) -> Decided | None:
    """What becomes of a run; a refusal is an answer. None where it must be tried again."""
    try:
        return await _decide(desk, row)
    except Unavailable:
        return None
    except TowpathError as refusal:
        return Decided("refused", None, refusal.code, refusal.message)


async def _keep(session: AsyncSession, row: Any, decided: Decided) -> None:
    """Write down what a pending run became, and tell the trail of a refusal."""
    kept = await session.execute(
        update(ScheduleRun)
        .where(ScheduleRun.id == row.run, ScheduleRun.outcome == "pending")
        .values(**asdict(decided), at=func.app_now())
        .returning(ScheduleRun.id)
    )
    if kept.one_or_none() is not None and decided.outcome == "refused":
        entry = trail.entry(
            row.tenant, actor=_actor(row), action="schedule.refuse", object=book.wire(row.schedule),
            after={"due_at": row.due_at, "code": decided.code}, reason=decided.detail,
        )  # fmt: skip
        await trail.append(session, entry)


def _actor(row: Any) -> trail.Actor:
    return trail.Actor("system", book.wire(row.schedule))


async def _decide(desk: Desk, row: Any) -> Decided:
    actor = _actor(row)
    if row.still and row.overlap == "skip":
        return Decided("skipped", detail="the run before it has not ended")
    for job in row.still if row.overlap == "cancel_running" else ():
        with contextlib.suppress(JobFinished):
            async with desk.db.transaction() as session:
                await transitions.cancel(session, row.tenant, job, actor=actor, request_id=None)
    in_force = limits.in_force(row.plan_limits, row.limits)
    asker = Asker(row.tenant, row.key, actor, limits=in_force)
    spec = await _with_endpoint(desk, row.tenant, book.spec(row.job))
    spec = _named(spec, row.schedule, row.due_at)
    # The key makes a second try find the first one's job; the id does so even when the key is forgotten.
    key = f"run {ids.wire('run', row.run)}"
    admitted = await admission.admit(desk, asker, spec, key=key, job=JobId(row.run))
    return Decided("admitted", admitted.job)


def _named(spec: JobSpec, schedule: ScheduleId, due: datetime | None) -> JobSpec:
    """The job with what it comes from in its metadata."""
    told = {_OF: book.wire(schedule)} | ({} if due is None else {_FOR: clock.wire(due)})
    return replace(spec, metadata=spec.metadata | told)


async def _with_endpoint(desk: Desk, tenant: TenantId, spec: JobSpec) -> JobSpec:
    """The job with the endpoint that its `callback_url` leads to now. Raises Invalid where there is none."""
    if spec.callback_url is None:
        return spec
    async with desk.db.transaction() as session:
        found = await endpoints.at(session, tenant, {spec.callback_url})
    if spec.callback_url not in found:
        raise Invalid.at("/job/callback_url", "is no URL of an enabled webhook endpoint any more")
    return replace(spec, callback=found[spec.callback_url])
