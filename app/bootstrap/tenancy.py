"""A whole tenant: who, with what money, and the shipped workflows. One transaction, the caller's."""

from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.budgets import accounts
from app.core import ids, money
from app.core.ids import TenantId
from app.jobs import models as _jobs  # noqa: F401 - accounts point at jobs, and the ORM must know both
from app.tenants import directory
from app.workflows import versions


async def create(
    session: AsyncSession,
    slug: str,
    name: str,
    *,
    limit_nanousd: int,
    actor: trail.Actor,
    weight: int = 1,
    max_running: int = 100,
    requires_idempotency: bool = False,
    id: TenantId | None = None,  # noqa: A002 - made before, where an idempotency record names it
) -> TenantId:
    """Make a tenant that can work at once: its account, its copies of the shipped workflows. Raises Invalid."""
    tenant = await directory.create(
        session, slug, name, actor=actor, weight=weight, max_running=max_running,
        requires_idempotency=requires_idempotency, id=id,
    )  # fmt: skip
    account = await accounts.open_tenant(session, tenant, limit_nanousd)
    entry = trail.entry(
        tenant, actor=actor, action="budget.open", object=ids.wire("acc", account),
        after={"limit": money.to_wire(limit_nanousd)},
    )  # fmt: skip
    await trail.append(session, entry)
    await versions.push_shipped(session, tenant)
    return tenant
