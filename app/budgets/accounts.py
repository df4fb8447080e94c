"""Accounts of tenants: opening, limits, what is free, and the look after an overrun."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.budgets.models import BudgetAccount
from app.core import ids, money, statements
from app.core.errors import NotFound
from app.core.ids import AccountId, TenantId

_FREE: Final = statements.load(__file__, "free")


@dataclass(frozen=True, slots=True)
class View:
    """A tenant's account as it was last committed."""

    limit_nanousd: int
    spent_nanousd: int
    held_nanousd: int
    overrun_at: datetime | None


async def open_tenant(session: AsyncSession, tenant: TenantId, limit_nanousd: int) -> AccountId:
    """Open a tenant's account with its hard limit."""
    id_ = AccountId(ids.new())
    now = await session.scalar(select(func.app_now()))
    session.add(
        BudgetAccount(
            id=id_, tenant=tenant, kind="tenant", limit_nanousd=limit_nanousd, created_at=now
        )
    )
    await session.flush()
    return id_


async def of(session: AsyncSession, tenant: TenantId) -> View:
    """A tenant's account. Raises NotFound."""
    query = select(
        BudgetAccount.limit_nanousd,
        BudgetAccount.spent_nanousd,
        BudgetAccount.held_nanousd,
        BudgetAccount.overrun_at,
    ).where(BudgetAccount.tenant == tenant, BudgetAccount.kind == "tenant")
    row = (await session.execute(query)).one_or_none()
    if row is None:
        raise NotFound("The tenant has no account.")
    return View(*row)


async def set_limit(
    session: AsyncSession,
    tenant: TenantId,
    limit_nanousd: int,
    *,
    actor: trail.Actor,
    reason: str | None = None,
) -> None:
    """Set the hard limit. Below what is spent and held it takes nothing back: no further hold is made.

    Locks the account. Raises NotFound.
    """
    before = await _locked(session, tenant)
    old = before.limit_nanousd
    before.limit_nanousd = limit_nanousd
    await session.flush()
    await trail.append(
        session,
        trail.entry(
            tenant, actor=actor, action="budget.set_limit", object=ids.wire("acc", before.id),
            before={"limit": money.to_wire(old)}, after={"limit": money.to_wire(limit_nanousd)},
            reason=reason,
        ),
    )  # fmt: skip


async def clear_overrun(
    session: AsyncSession, tenant: TenantId, *, actor: trail.Actor, reason: str
) -> None:
    """Let a tenant's account hold again after someone has looked at an overrun. Raises NotFound."""
    account = await _locked(session, tenant)
    since, account.overrun_at = account.overrun_at, None
    await session.flush()
    await trail.append(
        session,
        trail.entry(
            tenant, actor=actor, action="budget.clear_overrun", object=ids.wire("acc", account.id),
            before={"overrun_at": since}, after={"overrun_at": None}, reason=reason,
        ),
    )  # fmt: skip


async def free_nanousd(
    connection: psycopg.AsyncConnection[Any], tenants: Sequence[TenantId]
) -> dict[TenantId, int]:
    """What each tenant's account may still hold; 0 where it is blocked. A tenant without one is absent."""
    cursor = await connection.execute(_FREE.raw, {"tenants": list(tenants)})
    return {TenantId(row[0]): row[1] for row in await cursor.fetchall()}


async def _locked(session: AsyncSession, tenant: TenantId) -> BudgetAccount:
    query = select(BudgetAccount).where(
        BudgetAccount.tenant == tenant, BudgetAccount.kind == "tenant"
    )
    account = await session.scalar(query.with_for_update(key_share=True))
    if account is None:
        raise NotFound("The tenant has no account.")
    return account
