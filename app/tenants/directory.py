"""Tenants: made, found, suspended, resumed, capped. Each change is an entry in the tenant's chain."""

import re
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.audit.actions import Action
from app.core import ids, lists
from app.core.errors import Invalid, NotFound
from app.core.ids import TenantId
from app.core.lists import Page
from app.tenants.models import Plan, Tenant

NAME_CHARS: Final = 200
MAX_WEIGHT: Final = 1_000_000
MAX_RUNNING: Final = 1_000_000

_SLUG: Final = re.compile(r"[a-z0-9](?:-?[a-z0-9]){0,62}")
_TOLD: Final = (
    "slug", "name", "state", "weight", "max_running", "requires_idempotency", "plan",
)  # fmt: skip


async def create(
    session: AsyncSession,
    slug: str,
    name: str,
    *,
    actor: trail.Actor,
    weight: int = 1,
    max_running: int = 100,
    requires_idempotency: bool = False,
    id: TenantId | None = None,  # noqa: A002 - made before, where an idempotency record names it
) -> TenantId:
    """Make a tenant. `weight` is its share beside others, `max_running` its jobs at once.

    Raises Invalid, also for a slug that is taken. It has no money yet: bootstrap's tenancy makes a whole one.
    """
    _check(slug, name, weight, max_running)
    tenant = id or TenantId(ids.new())
    facts = {
        "slug": slug, "name": name, "state": "active", "weight": weight, "max_running": max_running,
        "requires_idempotency": requires_idempotency,
    }  # fmt: skip
    row = insert(Tenant).values(id=tenant, created_at=func.app_now(), **facts)
    made = await session.execute(
        row.on_conflict_do_nothing(index_elements=["slug"]).returning(Tenant.id)
    )
    if made.one_or_none() is None:
        raise Invalid.at("/slug", "another tenant has it")
    entry = trail.entry(
        tenant, actor=actor, action="tenant.create", object=wire(tenant), after=facts
    )
    await trail.append(session, entry)
    return tenant


async def find(session: AsyncSession, tenant: TenantId) -> Tenant:
    """One tenant. Raises NotFound."""
    found = await session.get(Tenant, tenant)
    if found is None:
        raise NotFound("There is no such tenant.")
    return found


async def by_slug(session: AsyncSession, slug: str) -> Tenant | None:
    """The tenant of this slug, if there is one."""
    return await session.scalar(select(Tenant).where(Tenant.slug == slug))


async def named(session: AsyncSession, text: str) -> Tenant:
    """The tenant of this slug or public id. Raises NotFound."""
    known = ids.parse("ten", text)
    if known is not None:
        return await find(session, TenantId(known))
    found = await by_slug(session, text)
    if found is None:
        raise NotFound(f"No tenant is called {text}.")
    return found


async def listed(session: AsyncSession, cursor: str | None, limit: int) -> Page[Tenant]:
    """Tenants, newest first. Raises Invalid for a cursor that isn't ours."""
    query = select(Tenant)
    if cursor is not None:
        last = lists.after(cursor)
        if last is None:
            raise Invalid.at("/cursor", "is not a cursor of this list")
        query = query.where(Tenant.id < last)
    found = list(await session.scalars(query.order_by(Tenant.id.desc()).limit(limit + 1)))
    items = found[:limit]
    return Page(items, lists.cursor(items[-1].id) if len(found) > limit else None)


async def suspend(
    session: AsyncSession, tenant: TenantId, *, actor: trail.Actor, reason: str
) -> None:
    """Refuse every request of this tenant from now on; within a second where its key is cached."""
    await change(session, tenant, actor, "tenant.suspend", reason, {"state": "suspended"})


async def resume(
    session: AsyncSession, tenant: TenantId, *, actor: trail.Actor, reason: str
) -> None:
    """Let a suspended tenant in again."""
    await change(session, tenant, actor, "tenant.resume", reason, {"state": "active"})


async def set_caps(
    session: AsyncSession,
    tenant: TenantId,
    *,
    actor: trail.Actor,
    weight: int | None = None,
    max_running: int | None = None,
    requires_idempotency: bool | None = None,
    plan: str | None = None,
    reason: str | None = None,
) -> None:
    """Change a tenant's share, its jobs at once, whether its POSTs need a key, its plan. None leaves as is.

    Raises NotFound, also where there is no such plan; Invalid.
    """
    if plan is not None and await session.get(Plan, plan) is None:
        raise NotFound("There is no such plan.")
    given = {
        "weight": weight,
        "max_running": max_running,
        "requires_idempotency": requires_idempotency,
        "plan": plan,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    await change(session, tenant, actor, "tenant.set_caps", reason, changes)


def wire(tenant: TenantId) -> str:
    """The public id of a tenant."""
    return ids.wire("ten", tenant)


def facts(tenant: Tenant) -> dict[str, Any]:
    """What an operator may see of a tenant."""
    return {name: getattr(tenant, name) for name in _TOLD}


async def change(
    session: AsyncSession,
    tenant: TenantId,
    actor: trail.Actor,
    action: Action,
    reason: str | None,
    changes: dict[str, Any],
) -> None:
    """Set columns of a tenant's row, as one entry of its chain. Raises NotFound, Invalid."""
    # Not FOR UPDATE: every row of the tenant takes a share of its key by its foreign key.
    found = await session.get(
        Tenant, tenant, with_for_update={"key_share": True}, populate_existing=True
    )
    if found is None:
        raise NotFound("There is no such tenant.")
    if found.state == "closed":
        raise Invalid("The tenant is closed.")
    before = {name: getattr(found, name) for name in changes}
    if before == changes:
        return
    for name, value in changes.items():
        setattr(found, name, value)
    _check(found.slug, found.name, found.weight, found.max_running)
    entry = trail.entry(
        tenant,
        actor=actor,
        action=action,
        object=wire(tenant),
        before=before,
        after=changes,
        reason=reason,
    )
    await session.flush()
    await trail.append(session, entry)


def _check(slug: str, name: str, weight: int, max_running: int) -> None:
    if _SLUG.fullmatch(slug) is None:
        raise Invalid.at("/slug", "1 to 63 of a-z, 0-9 and single hyphens between them")
    if not name.strip() or len(name) > NAME_CHARS:
        raise Invalid.at("/name", f"1 to {NAME_CHARS} characters")
    if not 1 <= weight <= MAX_WEIGHT:
        raise Invalid.at("/weight", f"from 1 to {MAX_WEIGHT}")
    if not 1 <= max_running <= MAX_RUNNING:
        raise Invalid.at("/max_running", f"from 1 to {MAX_RUNNING}")
