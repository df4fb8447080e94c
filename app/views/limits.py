"""The limits of a tenant with what is left of them."""

from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncSession

from app.core import statements
from app.core.ids import TenantId
from app.intake import backlog
from app.intake.backlog import Level
from app.ratelimit import charging
from app.ratelimit.buckets import Standing
from app.ratelimit.limiter import Limiter
from app.tenants import directory
from app.tenants.limits import Limits, Rate

_RUNNING = statements.load(__file__, "running")


@dataclass(frozen=True, slots=True)
class RateView:
    """One rate. `standing` is None where it has a count for each end user and none was named."""

    rate: Rate
    standing: Standing | None


@dataclass(frozen=True, slots=True)
class InForce:
    """What a tenant may have at once: running, and waiting in each lane as it was last counted."""

    plan: str | None
    max_running: int
    running: int
    levels: dict[str, Level]


async def rates(limiter: Limiter, limits: Limits, request: charging.Request) -> list[RateView]:
    """Every rate of a caller with what is left for such a request. Raises LimitsUnavailable."""
    drawn = {rate.name: charging.bucket(rate, request) for rate in limits.rates}
    there = [draw for draw in drawn.values() if draw is not None]
    left = (await limiter.look(there)).standings if there else ()
    standings = {one.name: one for one in left}
    return [RateView(rate, standings.get(rate.name)) for rate in limits.rates]


async def in_force(session: AsyncSession, tenant: TenantId) -> InForce:
    """What else a tenant is limited in. Raises NotFound."""
    found = await directory.find(session, tenant)
    running = (await session.execute(_RUNNING.text, {"tenant": tenant})).scalar_one()
    levels = await backlog.levels(session, tenant)
    return InForce(found.plan, found.max_running, int(running), levels)
