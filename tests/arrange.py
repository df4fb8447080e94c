"""What tests put in place by plain SQL: what a test arranges, it doesn't test."""

import psycopg
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import ids
from app.core.ids import TenantId


def make_tenant(
    admin: psycopg.Connection,
    slug: str,
    *,
    limit_nanousd: int = 10_000_000_000,
    max_running: int = 100,
) -> TenantId:
    """One more tenant with an account of its own."""
    tenant = TenantId(ids.new())
    admin.execute(
        "INSERT INTO tenant (id, slug, name, max_running, created_at) VALUES (%s, %s, %s, %s, app_now())",
        (tenant, slug, slug.title(), max_running),
    )
    admin.execute(
        "INSERT INTO budget_account (id, tenant, kind, limit_nanousd, created_at)"
        " VALUES (%s, %s, 'tenant', %s, app_now())",
        (ids.new(), tenant, limit_nanousd),
    )
    return tenant


async def move_clock(session: AsyncSession, interval: str) -> None:
    """Move app_now() of this session by an interval such as '3 hours'."""
    await session.execute(
        text("SELECT set_config('towpath.clock_offset', :by, false)"), {"by": interval}
    )
