"""Parts of the queue that stand still or take nothing more in: a tenant, a lane, a workflow, a worker.

Paused: nothing of it is released; what runs or is on its way goes on, and admission goes on. Drained: nothing
of it is admitted, and what was admitted runs to its end. Both may hold at once; `resume` takes both away.
A worker takes no new work under either, and finishes what it has.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from typing_extensions import override

from app.audit import trail
from app.audit.actions import Action
from app.core import ids, statements
from app.core.errors import Invalid
from app.core.ids import TenantId, WorkerId
from app.switches.errors import Draining
from app.switches.models import Pause

MAX_NAME_CHARS: Final = 200
MAX_REASON_CHARS: Final = 500
RETRY_SECONDS: Final = 30  # nobody knows when a drain ends

_AFTER_PASS: Final = statements.load(__file__, "after_pass")


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """What is paused or drained. `owner` is a tenant, or PLATFORM over all of them."""

    kind: str
    owner: TenantId
    name: str

    @override
    def __str__(self) -> str:
        """As the audit trail names it."""
        name = ids.wire("wrk", UUID(self.name)) if self.kind == "worker" else self.name
        return f"{self.kind}:{name or ids.wire('ten', self.owner)}"


def of_tenant(tenant: TenantId) -> Scope:
    """All of a tenant's work."""
    return Scope("tenant", tenant, "")


def of_lane(lane: str, tenant: TenantId = trail.PLATFORM) -> Scope:
    """A lane: of all tenants, or of one."""
    return Scope("lane", tenant, lane)


def of_workflow(workflow: str, tenant: TenantId = trail.PLATFORM) -> Scope:
    """Jobs of the workflow of this name: of all tenants, or of one."""
    return Scope("workflow", tenant, workflow)


def of_worker(worker: WorkerId) -> Scope:
    """One worker process."""
    return Scope("worker", trail.PLATFORM, str(worker))


def over(tenant: TenantId, lane: str, workflow: str) -> tuple[Scope, ...]:
    """Every scope that a job stands under but its worker's."""
    return (
        of_tenant(tenant), of_lane(lane), of_lane(lane, tenant), of_workflow(workflow),
        of_workflow(workflow, tenant),
    )  # fmt: skip


async def pause(session: AsyncSession, scope: Scope, *, actor: trail.Actor, reason: str) -> None:
    """Release nothing of this from the caller's commit on. Twice is once: the first reason stays. Raises Invalid.

    Waits for the pass of the dispatcher that is under way: a few milliseconds.
    """
    if await _set(session, scope, "pause", "queue.pause", actor, reason):
        await session.execute(_AFTER_PASS.text)


async def drain(session: AsyncSession, scope: Scope, *, actor: trail.Actor, reason: str) -> None:
    """Admit nothing of this any more, within a second. Twice is once. Raises Invalid."""
    await _set(session, scope, "drain", "queue.drain", actor, reason)


async def resume(session: AsyncSession, scope: Scope, *, actor: trail.Actor, reason: str) -> None:
    """Undo a pause and a drain. Where there is neither, nothing happens. Raises Invalid."""
    _check(scope, reason)
    ended = await session.scalars(delete(Pause).where(*_is(scope)).returning(Pause.mode))
    modes = sorted(ended)
    if modes:
        await session.execute(select(func.pg_notify("dispatch", "")))
        await _tell(session, scope, "queue.resume", actor, reason, {"modes": modes}, None)


async def listed(session: AsyncSession) -> list[Pause]:
    """Everything that is paused or drained, those over all tenants first."""
    order = (Pause.owner, Pause.kind, Pause.name, Pause.mode)
    return list(await session.scalars(select(Pause).order_by(*order)))


async def of(session: AsyncSession, scope: Scope) -> list[Pause]:
    """What holds for this scope itself."""
    return list(await session.scalars(select(Pause).where(*_is(scope)).order_by(Pause.mode)))


async def drains(session: AsyncSession) -> dict[Scope, str]:
    """What is drained, with the reason."""
    rows = await session.execute(
        select(Pause.kind, Pause.owner, Pause.name, Pause.reason).where(Pause.mode == "drain")
    )
    return {Scope(kind, owner, name): reason for kind, owner, name, reason in rows}


def refuse(drained: Mapping[Scope, str], tenant: TenantId, lane: str, workflow: str) -> None:
    """Raises Draining where such a job may not come in."""
    if not drained:
        return
    for scope in over(tenant, lane, workflow):
        if scope in drained:
            what = "Your tenant" if scope.kind == "tenant" else f"The {scope.kind} {scope.name}"
            raise Draining(
                f"{what} takes no new jobs: {drained[scope]}", scope=scope.kind,
                name=scope.name or None, retry_after=RETRY_SECONDS,
            )  # fmt: skip


async def _set(
    session: AsyncSession,
    scope: Scope,
    mode: str,
    action: Action,
    actor: trail.Actor,
    reason: str,
) -> bool:
    _check(scope, reason)
    row = {
        "kind": scope.kind, "owner": scope.owner, "name": scope.name, "mode": mode,
        "reason": reason, "set_by": actor.id, "set_at": func.app_now(),
    }  # fmt: skip
    made = insert(Pause).values(row).on_conflict_do_nothing().returning(Pause.mode)
    if (await session.execute(made)).one_or_none() is None:
        return False
    await _tell(session, scope, action, actor, reason, None, {"modes": [mode]})
    return True


def _check(scope: Scope, reason: str) -> None:
    if scope.kind != "tenant" and not 0 < len(scope.name) <= MAX_NAME_CHARS:
        raise Invalid.at("/name", f"1 to {MAX_NAME_CHARS} characters")
    if not 0 < len(reason.strip()) <= MAX_REASON_CHARS:
        raise Invalid.at("/reason", f"1 to {MAX_REASON_CHARS} characters")


def _is(scope: Scope) -> tuple[Any, ...]:
    return Pause.kind == scope.kind, Pause.owner == scope.owner, Pause.name == scope.name


async def _tell(
    session: AsyncSession,
    scope: Scope,
    action: Action,
    actor: trail.Actor,
    reason: str,
    before: Mapping[str, Any] | None,
    after: Mapping[str, Any] | None,
) -> None:
    entry = trail.entry(
        scope.owner, actor=actor, action=action, object=str(scope), before=before, after=after,
        reason=reason,
    )  # fmt: skip
    await trail.append(session, entry)
