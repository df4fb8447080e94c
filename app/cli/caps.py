"""`towpath admin caps`: how many jobs of a kind may run at once."""

from typing import Annotated, Any

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.trail import PLATFORM
from app.cli import operating, showing
from app.cli.showing import AsJson
from app.core import clock
from app.core.errors import NotFound
from app.jobs.caps import Cap
from app.scheduling import capping
from app.scheduling.models import CapRow
from app.tenants import directory

app = typer.Typer(
    help="Caps on what runs at once: of everything, a workflow, a key, a named resource.",
    no_args_is_help=True,
)

Reason = Annotated[str, typer.Option(help="Why; it stays in the audit trail.")]
Slug = Annotated[str | None, typer.Option("--tenant", help="Of this tenant; default: of all.")]
Workflow = Annotated[str | None, typer.Option(help="Jobs of the workflow of this name.")]
Key = Annotated[str | None, typer.Option(help="Jobs that came by this key of the tenant, key_….")]
Resource = Annotated[str | None, typer.Option(help="Jobs that use the resource of this name.")]


@app.command("set")
def set_cap(
    most: Annotated[int, typer.Argument(help="Jobs at once; 0 stops the kind.")],
    reason: Reason,
    tenant: Slug = None,
    workflow: Workflow = None,
    key: Key = None,
    resource: Resource = None,
    json_: AsJson = False,
) -> None:
    """Cap what runs at once. Without a workflow, key or resource: everything. What runs already goes on."""

    async def work(session: AsyncSession) -> dict[str, Any]:
        cap = await _cap(session, tenant, workflow, key, resource)
        await capping.put(session, cap, most, actor=operating.actor(), reason=reason)
        return await _shown(session, cap) | {"max_running": most}

    showing.show(operating.transact(work), json_)


@app.command("clear")
def clear_cap(
    reason: Reason,
    tenant: Slug = None,
    workflow: Workflow = None,
    key: Key = None,
    resource: Resource = None,
    json_: AsJson = False,
) -> None:
    """Take a cap away."""

    async def work(session: AsyncSession) -> dict[str, Any]:
        cap = await _cap(session, tenant, workflow, key, resource)
        await capping.clear(session, cap, actor=operating.actor(), reason=reason)
        return await _shown(session, cap) | {"max_running": None}

    showing.show(operating.transact(work), json_)


@app.command("list")
def list_caps(json_: AsJson = False) -> None:
    """All caps that are set, those over all tenants first."""

    async def work(session: AsyncSession) -> list[dict[str, Any]]:
        return [await _row(session, cap) for cap in await capping.listed(session)]

    showing.show_all(operating.transact(work), json_)


async def _cap(
    session: AsyncSession,
    slug: str | None,
    workflow: str | None,
    key: str | None,
    resource: str | None,
) -> Cap:
    given = {"workflow": workflow, "key": key, "resource": resource}
    named = [(kind, name) for kind, name in given.items() if name is not None]
    if len(named) > 1:
        raise typer.BadParameter("one of --workflow, --key and --resource")
    [(kind, name)] = named or [("all", "")]
    if slug is None:
        return PLATFORM, kind, name
    tenant = await directory.by_slug(session, slug)
    if tenant is None:
        raise NotFound(f"No tenant is called {slug}.")
    return tenant.id, kind, name


async def _shown(session: AsyncSession, cap: Cap) -> dict[str, Any]:
    owner, kind, name = cap
    slug = None if owner == PLATFORM else (await directory.find(session, owner)).slug
    return {"tenant": slug, "kind": kind, "name": name}


async def _row(session: AsyncSession, row: CapRow) -> dict[str, Any]:
    shown = await _shown(session, (row.owner, row.kind, row.name))
    return shown | {
        "max_running": row.max_running, "reason": row.reason, "set_by": row.set_by,
        "set_at": clock.wire(row.set_at),
    }  # fmt: skip
