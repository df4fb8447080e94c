"""`towpath admin tools`: which tools a tenant may use, and with which arguments."""

import json
from typing import Annotated, Any

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from app.bootstrap import platform
from app.cli import operating, showing
from app.cli.showing import AsJson
from app.core import clock
from app.retrieval import embedding
from app.tenants import directory
from app.tools import grants
from app.tools.config import ToolsConfig
from app.tools.models import ToolGrant

app = typer.Typer(
    help="Tools that tenants may use. Without a grant they have the pure built-in ones alone.",
    no_args_is_help=True,
)

Slug = Annotated[str, typer.Argument(help="The tenant's slug.")]
Name = Annotated[str, typer.Argument(help="The tool's name.")]
Reason = Annotated[str, typer.Option(help="Why; it stays in the audit trail.")]


def _schema(text: str) -> dict[str, Any]:
    try:
        schema = json.loads(text)
    except ValueError:
        schema = None
    if not isinstance(schema, dict):
        raise typer.BadParameter("a JSON Schema, as a JSON object")
    return schema


Limits = Annotated[
    Any,
    typer.Option(parser=_schema, metavar="JSON", help="JSON Schema that the arguments must fit too."),
]  # fmt: skip


@app.command("grant")
def grant(
    tenant: Slug, tool: Name, reason: Reason, limits: Limits = None, json_: AsJson = False
) -> None:
    """Let a tenant use a tool, in place of an earlier grant of it."""
    known = platform.tools(ToolsConfig(), None, embedding.open_embedder())

    async def work(session: AsyncSession) -> dict[str, Any]:
        owner = await directory.named(session, tenant)
        made = await grants.grant(
            session, owner.id, tool, limits, tools=known, actor=operating.actor(), reason=reason
        )
        return _of(made)

    showing.show(operating.transact(work), json_)


@app.command("revoke")
def revoke(tenant: Slug, tool: Name, reason: Reason, json_: AsJson = False) -> None:
    """Take a grant back: calls of the tool are refused within a second."""

    async def work(session: AsyncSession) -> dict[str, Any]:
        owner = await directory.named(session, tenant)
        await grants.revoke(session, owner.id, tool, actor=operating.actor(), reason=reason)
        return {"tool": tool, "granted": False}

    showing.show(operating.transact(work), json_)


@app.command("list")
def list_grants(
    tenant: Annotated[str | None, typer.Argument(help="Grants of this tenant; default: all tools.")] = None,
    json_: AsJson = False,
) -> None:  # fmt: skip
    """List a tenant's grants; without one, the tools that this installation has, and those refused."""
    if tenant is None:
        known = platform.tools(ToolsConfig(), None, embedding.open_embedder())
        rows = [
            {"tool": one.tool.name, "version": one.tool.version, "effect": one.tool.effect, "refused": None}
            for one in known.tools.values()
        ] + [{"tool": name, "version": None, "effect": None, "refused": why} for name, why in known.refused.items()]  # fmt: skip
        showing.show_all(sorted(rows, key=lambda row: str(row["tool"])), json_)
        return

    async def work(session: AsyncSession) -> list[dict[str, Any]]:
        owner = await directory.named(session, tenant)
        return [_of(one) for one in await grants.listed(session, owner.id)]

    showing.show_all(operating.transact(work), json_)


def _of(row: ToolGrant) -> dict[str, Any]:
    return {
        "tool": row.tool, "limits": row.arguments, "reason": row.reason, "granted_by": row.granted_by,
        "granted_at": clock.wire(row.granted_at),
    }  # fmt: skip
