"""Plans: limits that many tenants share. Each change is an entry of the platform's chain."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.audit.actions import Action
from app.core.errors import Invalid, NotFound
from app.core.ids import TenantId
from app.tenants import directory
from app.tenants.models import Plan, Tenant

Change = Callable[[Mapping[str, Any]], dict[str, Any]]

_NAME: Final = re.compile(r"[a-z0-9](?:-?[a-z0-9]){0,62}")


async def create(session: AsyncSession, name: str, *, actor: trail.Actor) -> None:
    """Make a plan, without a limit. Raises Invalid, also for a name that is taken."""
    if _NAME.fullmatch(name) is None:
        raise Invalid.at("/name", "1 to 63 of a-z, 0-9 and single hyphens between them")
    row = insert(Plan).values(name=name, created_at=func.app_now()).on_conflict_do_nothing()
    if (await session.execute(row.returning(Plan.name))).one_or_none() is None:
        raise Invalid.at("/name", "another plan has it")
    await _told(session, name, actor, "plan.create", None, None, {"limits": {}})


async def find(session: AsyncSession, name: str) -> Plan:
    """One plan. Raises NotFound."""
    found = await session.get(Plan, name)
    if found is None:
        raise NotFound("There is no such plan.")
    return found


async def listed(session: AsyncSession) -> list[Plan]:
    """All plans, by name."""
    return list(await session.scalars(select(Plan).order_by(Plan.name)))


async def set_limits(
    session: AsyncSession, name: str, change: Change, *, actor: trail.Actor, reason: str | None
) -> None:
    """Change a plan's limits, and with them those of its tenants, within a second. Raises NotFound, Invalid."""
    found = await session.get(Plan, name, with_for_update={"key_share": True})
    if found is None:
        raise NotFound("There is no such plan.")
    before, found.limits = found.limits, change(found.limits)
    if before != found.limits:
        await session.flush()
        await _told(session, name, actor, "plan.set_limits", reason, before, found.limits)


async def set_own_limits(
    session: AsyncSession,
    tenant: TenantId,
    change: Change,
    *,
    actor: trail.Actor,
    reason: str | None,
) -> None:
    """Change a tenant's own limits, which stand in place of its plan's. Raises NotFound, Invalid."""
    found = await session.get(Tenant, tenant, with_for_update={"key_share": True})
    if found is None:
        raise NotFound("There is no such tenant.")
    changes = {"limits": change(found.limits)}
    await directory.change(session, tenant, actor, "tenant.set_limits", reason, changes)


async def of_tenant(session: AsyncSession, tenant: Tenant) -> dict[str, Any] | None:
    """The limits of the plan that a tenant has, if it has one."""
    return None if tenant.plan is None else (await find(session, tenant.plan)).limits


async def _told(
    session: AsyncSession,
    name: str,
    actor: trail.Actor,
    action: Action,
    reason: str | None,
    before: Any,
    after: Any,
) -> None:
    entry = trail.entry(
        trail.PLATFORM, actor=actor, action=action, object=f"plan_{name}", before=before, after=after,
        reason=reason,
    )  # fmt: skip
    await trail.append(session, entry)
