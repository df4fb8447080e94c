"""Usage lines of a tenant, one by one."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import lists
from app.core.ids import JobId, TenantId
from app.core.lists import Page
from app.usage.models import UsageLine


@dataclass(frozen=True, slots=True)
class Filter:
    """What the lines are narrowed to; `since` is in, `until` is out."""

    since: datetime | None = None
    until: datetime | None = None
    workflow: str | None = None
    model: str | None = None
    job: JobId | None = None


async def lines(
    session: AsyncSession, tenant: TenantId, narrow: Filter, *, cursor: str | None, limit: int
) -> Page[UsageLine]:
    """A page of usage lines, newest first by the moment of their call."""
    query = select(UsageLine).where(UsageLine.tenant == tenant)
    if narrow.since is not None:
        query = query.where(UsageLine.at >= narrow.since)
    if narrow.until is not None:
        query = query.where(UsageLine.at < narrow.until)
    if narrow.workflow is not None:
        query = query.where(UsageLine.workflow == narrow.workflow)
    if narrow.model is not None:
        query = query.where(UsageLine.model == narrow.model)
    if narrow.job is not None:
        query = query.where(UsageLine.job == narrow.job)
    if cursor is not None:
        # A line's id is of its settlement, its time of its call: the order needs both.
        last = select(UsageLine.at, UsageLine.id).where(
            UsageLine.tenant == tenant, UsageLine.id == lists.after(cursor)
        )
        query = query.where(tuple_(UsageLine.at, UsageLine.id) < last.scalar_subquery())
    ordered = query.order_by(UsageLine.at.desc(), UsageLine.id.desc()).limit(limit + 1)
    found = list((await session.scalars(ordered)).all())
    more = len(found) > limit
    return Page(found[:limit], lists.cursor(found[limit - 1].id) if more else None)
