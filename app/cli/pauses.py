"""`towpath admin pause`, `resume`, `drain`: parts of the queue; and what operators see of lanes and workers."""

from enum import StrEnum
from typing import Annotated, Any

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.trail import PLATFORM
from app.bootstrap import settings
from app.cli import operating, showing
from app.cli.showing import AsJson
from app.core import clock, ids
from app.core.errors import NotFound
from app.jobs.states import LANES
from app.switches.models import Pause
from app.switches.pauses import Scope
from app.tenants import directory
from app.views import operations
from app.views.operations import Part


class Kind(StrEnum):
    """What can be paused."""

    tenant = "tenant"
    lane = "lane"
    workflow = "workflow"
    worker = "worker"


What = Annotated[Kind, typer.Argument(help="A tenant, a lane, a workflow or a worker.")]
Name = Annotated[str, typer.Argument(help="Its slug, its name, or its id wrk_….")]
Slug = Annotated[
    str | None, typer.Option("--tenant", help="A lane or workflow of this tenant; default: of all.")
]
Reason = Annotated[str, typer.Option(help="Why; it stays in the audit trail, and tenants read it.")]

_COLUMNS = ("kind", "name", "tenant", "paused", "draining", "queued", "running", "waiting")


def pause(
    what: What, name: Name, reason: Reason, tenant: Slug = None, json_: AsJson = False
) -> None:
    """Release nothing of it: what is on its way or runs goes on, and admission goes on."""
    _move("pause", what, name, tenant, reason, json_)


def resume(
    what: What, name: Name, reason: Reason, tenant: Slug = None, json_: AsJson = False
) -> None:
    """Undo a pause and a drain."""
    _move("resume", what, name, tenant, reason, json_)


def drain(
    what: What, name: Name, reason: Reason, tenant: Slug = None, json_: AsJson = False
) -> None:
    """Admit nothing of it any more; what was admitted runs to its end. A worker finishes what it has."""
    _move("drain", what, name, tenant, reason, json_)


def list_pauses(json_: AsJson = False) -> None:
    """List everything that is paused or drained, with what is left of it."""

    async def work(session: AsyncSession) -> list[dict[str, Any]]:
        return [_row(part) for part in await operations.parts(session)]

    showing.show_all(operating.transact(work), json_, _COLUMNS)


def list_workers(json_: AsJson = False) -> None:
    """List the workers: what they serve and have. `drained` has nothing left and may be stopped."""

    async def work(session: AsyncSession) -> list[dict[str, Any]]:
        found = await operations.workers(session, settings.load().scheduling)
        return [
            {
                "id": ids.wire("wrk", one.id), "host": one.host, "pid": one.pid,
                "lanes": list(one.lanes), "slots": one.slots, "running": one.running,
                "state": one.state, "seen_at": clock.wire(one.seen_at),
            }
            for one in found
        ]  # fmt: skip

    showing.show_all(operating.transact(work), json_)


def list_lanes(json_: AsJson = False) -> None:
    """List the lanes: what waits, what runs, and who serves them."""

    async def work(session: AsyncSession) -> list[dict[str, Any]]:
        found = await operations.lanes(session, settings.load().scheduling)
        return [
            {
                "name": one.name, "share": one.share, "queued": one.queued,
                "oldest_seconds": int(one.oldest_seconds), "running": one.running,
                "workers": one.workers, "slots": one.slots, "held": sorted(one.holds),
            }
            for one in found
        ]  # fmt: skip

    showing.show_all(operating.transact(work), json_)


def add_to(app: typer.Typer) -> None:
    """Make these commands of the operators' group."""
    for command in (pause, resume, drain):
        app.command(command.__name__)(command)
    app.command("pauses")(list_pauses)
    app.command("workers")(list_workers)
    app.command("lanes")(list_lanes)


def _move(verb: str, what: Kind, name: str, tenant: str | None, reason: str, as_json: bool) -> None:
    if tenant is not None and what in (Kind.tenant, Kind.worker):
        raise typer.BadParameter("--tenant narrows a lane or a workflow")
    if what is Kind.lane and name not in LANES:
        raise typer.BadParameter(f"a lane is one of {', '.join(LANES)}")

    async def work(session: AsyncSession) -> dict[str, Any]:
        scope = await _scope(session, what, name, tenant)
        actor = operating.actor()
        return _row(await operations.move(session, scope, verb, actor=actor, reason=reason))

    showing.show(operating.transact(work), as_json)


async def _scope(session: AsyncSession, what: Kind, name: str, tenant: str | None) -> Scope:
    if what is Kind.tenant:
        return Scope("tenant", (await directory.named(session, name)).id, "")
    if what is Kind.worker:
        known = ids.parse("wrk", name)
        if known is None:
            raise NotFound("There is no such worker.")
        return Scope("worker", PLATFORM, str(known))
    owner = PLATFORM if tenant is None else (await directory.named(session, tenant)).id
    return Scope(what.value, owner, name)


def _row(part: Part) -> dict[str, Any]:
    return {
        "kind": part.scope.kind, "name": part.name, "tenant": part.slug,
        "paused": _hold(part.holds.get("pause")), "draining": _hold(part.holds.get("drain")),
        "queued": part.left.queued, "running": part.left.running, "waiting": part.left.waiting,
        "empty": part.left.none,
    }  # fmt: skip


def _hold(row: Pause | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {"reason": row.reason, "by": row.set_by, "since": clock.wire(row.set_at)}
