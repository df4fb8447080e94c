"""Why a job is not running: what holds it up, the nearest cause first. What concerns other tenants has no figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.trail import PLATFORM
from app.budgets import accounts
from app.core import money
from app.core.errors import NotFound
from app.core.ids import JobId, TenantId
from app.jobs import reads
from app.jobs.models import Job
from app.scheduling import explaining
from app.scheduling.config import SchedulingConfig
from app.scheduling.explaining import Chances, Full
from app.switches import levers, pauses
from app.switches.models import Pause
from app.switches.pauses import Scope
from app.tenants import directory
from app.tenants.models import Tenant
from app.views import jobs as views

_CAPS: Final = {
    "all": "jobs", "workflow": "jobs of this workflow", "key": "jobs of this key",
    "resource": "jobs that use this resource",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Reason:
    """One cause. `facts` are its figures, by the names of the answer."""

    code: str
    detail: str
    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Why:
    """A job's causes, the first of which holds it up now; its place is that of the job itself."""

    job: Job
    reasons: Sequence[Reason]
    queue_position: int | None
    estimated_start_at: datetime | None


async def why(session: AsyncSession, tenant: TenantId, job: JobId, config: SchedulingConfig) -> Why:
    """Why a tenant's job is not running. Raises NotFound."""
    found = await reads.get(session, tenant, job)
    if found is None:
        raise NotFound("No such job.")
    position, starts_at = await views.place(session, found)
    match found.state:
        case "queued":
            reasons = await _queued(session, found, position, starts_at, config)
        case "scheduled":
            told = f"It is to run at {_at(found.run_at)}, not before."
            reasons = [_reason("scheduled", told, until=found.run_at)]
            reasons += await _held(session, found)
        case "waiting":
            reasons = [*await _waiting(session, found), *await _held(session, found)]
        case "dispatched":
            reasons = [_reason("on_its_way", "It was released and is on its way to a worker.")]
        case "running":
            reasons = list(_running(found))
        case _:
            told = f"It has ended: {found.state}."
            reasons = [_reason("ended", told, since=found.finished_at)]
    return Why(found, reasons, position, starts_at)


def _reason(code: str, detail: str, **facts: Any) -> Reason:
    return Reason(code, detail, facts)


def _running(job: Job) -> Iterator[Reason]:
    if job.cancel_requested_at is not None:
        told = "It was cancelled; its worker hears of it within seconds."
        yield _reason("cancelling", told, since=job.cancel_requested_at)
    yield _reason("running", "It is running.", since=job.started_at)


async def _queued(
    session: AsyncSession,
    job: Job,
    position: int | None,
    starts_at: datetime | None,
    config: SchedulingConfig,
) -> list[Reason]:
    tenant = await directory.find(session, job.tenant)
    chances = await explaining.chances(session, job, tenant, config)
    turn = f"It is number {position} of your jobs in this lane; tenants take turns."
    return [
        *await _held(session, job, tenant),
        *map(_of_cap, chances.full),
        *_of_workers(job, chances),
        _reason("turn", turn, position=position, estimated_start_at=starts_at),
    ]


def _of_workers(job: Job, chances: Chances) -> Iterator[Reason]:
    if job.home_lane is not None:
        yield _reason("quarantine", "Its workers were lost twice, so its next step runs alone.")
    if not chances.workers:
        yield _reason("no_workers", "No live worker serves its lane.")
    if not chances.led:
        yield _reason("dispatcher", "No dispatcher is alive: nothing is released.")
    if chances.workers and not chances.room:
        yield _reason("lane_full", "All slots that its lane may use are taken.")


async def _held(session: AsyncSession, job: Job, tenant: Tenant | None = None) -> list[Reason]:
    """What operators have stopped that this job stands under."""
    found = []
    if tenant is not None and tenant.state != "active":
        found.append(_reason("tenant_suspended", "Your tenant is suspended: none of it runs."))
    over = pauses.over(job.tenant, job.lane, job.workflow)
    return found + [
        _of_pause(row)
        for row in await pauses.listed(session)
        if row.mode == "pause" and Scope(row.kind, row.owner, row.name) in over
    ]


def _of_pause(row: Pause) -> Reason:
    what = "Your tenant" if row.kind == "tenant" else f"The {row.kind} {row.name}"
    whose = " of your tenant" if row.kind != "tenant" and row.owner != PLATFORM else ""
    return _reason(
        "paused", f"{what}{whose} is paused: {row.reason}", since=row.set_at, by=row.set_by,
        scope={"kind": row.kind, "name": row.name or None, "of": _of(row.owner)},
    )  # fmt: skip


def _of_cap(full: Full) -> Reason:
    owner, kind, name = full.cap
    if owner == PLATFORM:
        told = f"A limit on {_CAPS[kind]} at once, over all tenants, is reached."
        return _reason("cap", told, scope={"kind": kind, "name": None, "of": "platform"})
    return _reason(
        "cap", f"{full.running} {_CAPS[kind]} are running, {full.most} may.",
        scope={"kind": kind, "name": name or None, "of": "tenant"}, max=full.most,
        running=full.running,
    )  # fmt: skip


def _of(owner: TenantId) -> str:
    return "platform" if owner == PLATFORM else "tenant"


async def _waiting(session: AsyncSession, job: Job) -> list[Reason]:
    match job.waiting_for:
        case "backoff":
            told = f"A try did not succeed; the next one comes at {_at(job.wake_at)}."
            reasons = [_reason("backoff", told, until=job.wake_at)]
            if "model_calls" in await levers.off(session):
                told = "Model calls are switched off by an operator."
                reasons.insert(0, _reason("disabled", told))
            return reasons
        case "budget":
            account = await accounts.of(session, job.tenant)
            free = max(0, account.limit_nanousd - account.spent_nanousd - account.held_nanousd)
            need = job.need_nanousd or 0
            told = (
                f"Its next call may cost {money.to_wire(need)} USD, {money.to_wire(free)} are free."
            )
            if account.overrun_at is not None:
                told = "The account is blocked, since a call cost more than was held for it."
            return [_reason("budget", told, need=money.to_wire(need), free=money.to_wire(free))]
        case "approval" | "signal" as kind:
            return [
                _reason(
                    kind, f"It waits for {'an approval' if kind == 'approval' else 'a signal'}."
                )
            ]
        case "intervention":
            told = "A call of a tool broke off and may have had its effect: a person says how it ended."
            return [_reason("intervention", told)]
        case other:
            return [_reason("waiting", f"It waits for {other}.", until=job.wake_at)]


def _at(moment: datetime | None) -> str:
    return "a time" if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%SZ")
