"""Which tools a tenant may use, and with which arguments. Nothing but the pure built-in ones without a grant."""

from typing import Any

import jsonschema
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.core.errors import Invalid, NotFound
from app.core.ids import TenantId
from app.tools import registry
from app.tools.models import ToolGrant
from app.tools.registry import Registry


async def of(session: AsyncSession, tenant: TenantId) -> dict[str, dict[str, Any] | None]:
    """A tenant's grants: tool → the schema that its arguments must fit beside the tool's own, if any."""
    query = select(ToolGrant.tool, ToolGrant.arguments).where(ToolGrant.tenant == tenant)
    return {row.tool: row.arguments for row in await session.execute(query)}


async def listed(session: AsyncSession, tenant: TenantId) -> list[ToolGrant]:
    """A tenant's grants by tool."""
    query = select(ToolGrant).where(ToolGrant.tenant == tenant).order_by(ToolGrant.tool)
    return list((await session.scalars(query)).all())


async def grant(
    session: AsyncSession,
    tenant: TenantId,
    tool: str,
    arguments: dict[str, Any] | None,
    *,
    tools: Registry,
    actor: trail.Actor,
    reason: str,
) -> ToolGrant:
    """Let a tenant use a tool, within `arguments`; in place of an earlier grant. Raises Invalid.

    `tools` are those that there are: a grant of a misspelt one would be found out by the tenant.
    """
    if tool not in tools.tools:
        raise Invalid.at("/tool", registry.fault(tools, tool))
    if tool in registry.FREE:
        raise Invalid.at("/tool", f"{tool} is everyone's and needs no grant")
    try:
        jsonschema.Draft202012Validator.check_schema({} if arguments is None else arguments)
    except jsonschema.SchemaError as error:
        raise Invalid.at("/arguments", f"not a JSON Schema: {error.message[:300]}") from None
    before = await _held(session, tenant, tool)
    row = {
        "arguments": arguments, "reason": reason, "granted_by": actor.id, "granted_at": func.app_now(),
    }  # fmt: skip
    entry = trail.entry(
        tenant, actor=actor, action="tool.grant", object=tool, reason=reason,
        before={"granted": before is not None, "arguments": before and before.arguments},
        after={"granted": True, "arguments": arguments},
    )  # fmt: skip
    made = insert(ToolGrant).values(tenant=tenant, tool=tool, **row)
    made = made.on_conflict_do_update(index_elements=["tenant", "tool"], set_=row)
    await session.execute(made)
    await trail.append(session, entry)
    query = select(ToolGrant).where(ToolGrant.tenant == tenant, ToolGrant.tool == tool)
    return (await session.execute(query.execution_options(populate_existing=True))).scalar_one()


async def revoke(
    session: AsyncSession, tenant: TenantId, tool: str, *, actor: trail.Actor, reason: str
) -> None:
    """Take a grant back: calls are refused within a second. Raises NotFound where there is none."""
    before = await _held(session, tenant, tool)
    if before is None:
        raise NotFound("No such grant.")
    entry = trail.entry(
        tenant, actor=actor, action="tool.revoke", object=tool, reason=reason,
        before={"granted": True, "arguments": before.arguments}, after={"granted": False},
    )  # fmt: skip
    gone = delete(ToolGrant).where(ToolGrant.tenant == tenant, ToolGrant.tool == tool)
    await session.execute(gone)
    await trail.append(session, entry)


async def _held(session: AsyncSession, tenant: TenantId, tool: str) -> ToolGrant | None:
    # Under the row's lock, so that `before` is what this change replaces.
    query = select(ToolGrant).where(ToolGrant.tenant == tenant, ToolGrant.tool == tool)
    return (await session.execute(query.with_for_update())).scalar_one_or_none()
