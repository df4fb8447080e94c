"""Whether what waits leaves room for more: ceilings of a tenant, and the pressure under which lanes are shed.

Nothing here counts the queue: the figures are the loop's, a few seconds old, and what this process has
let in since they were counted comes on top.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.trail import PLATFORM
from app.core import statements
from app.core.db import Database
from app.core.groupcommit import GroupCommit
from app.core.ids import TenantId
from app.core.recent import Recent
from app.intake.config import IntakeConfig
from app.intake.errors import Overloaded, QueueFull
from app.ratelimit.errors import MAX_RETRY_SECONDS
from app.tenants.limits import Ceiling, Limits

# The lowest lane is shed first: at this part of what can be carried.
SHED_AT: Final = {"batch": 0.8, "standard": 0.9, "interactive": 1.0}
UNKNOWN_RETRY_SECONDS: Final = 30  # where nothing was released lately, nobody can say

_LEVELS: Final = statements.load(__file__, "levels")


@dataclass(frozen=True, slots=True)
class Level:
    """What waits in a lane. `pace_nanousd` is the predicted cost that leaves it in a minute."""

    jobs: int = 0
    cost_nanousd: int = 0
    age_seconds: float = 0.0
    pace_nanousd: int = 0
    counted_at: datetime | None = None


NOTHING: Final = Level()


class Backlog:
    """What one process knows of what waits, and what it has let in since that was counted."""

    def __init__(self, db: Database, config: IntakeConfig) -> None:
        self._config = config
        self._group = GroupCommit(_look, db)
        self._levels = Recent(self._group.submit, config.known_for)
        self._since: dict[tuple[TenantId, str], tuple[datetime | None, int, int]] = {}
        self._platform: Mapping[str, Level] = {}
        self._pressure = 0.0

    async def enter(self, tenant: TenantId, limits: Limits, lane: str, pending: int) -> None:
        """Let one more in. Raises QueueFull, Overloaded. `pending` are those that wait for their commit here."""
        await self.shed(lane, pending)
        ceiling = (limits.ceilings or {}).get(lane)
        if ceiling is None:
            return
        level = (await self._levels.get(tenant)).get(lane, NOTHING)
        counted = self._platform.get(lane, NOTHING).counted_at
        seen, jobs, cost = self._since.get((tenant, lane), (counted, 0, 0))
        if seen != counted:
            jobs, cost = 0, 0
        check(ceiling, level, jobs, cost, lane)
        self._since[tenant, lane] = (counted, jobs + 1, cost)

    def weigh(self, tenant: TenantId, lane: str, cost_nanousd: int) -> None:
        """Say what one that came in will probably cost."""
        self._add(tenant, lane, 0, cost_nanousd)

    def leave(self, tenant: TenantId, lane: str) -> None:
        """One did not come in after all."""
        self._add(tenant, lane, -1, 0)

    def _add(self, tenant: TenantId, lane: str, jobs: int, cost_nanousd: int) -> None:
        held = self._since.get((tenant, lane))
        if held is not None:  # no ceiling, nothing to keep
            self._since[tenant, lane] = (held[0], held[1] + jobs, held[2] + cost_nanousd)

    async def shed(self, lane: str, pending: int) -> None:
        """Refuse a lane under the pressure that there is. Raises Overloaded."""
        platform = await self._levels.get(PLATFORM)
        if platform is not self._platform:
            self._platform, self._pressure = platform, pressure(platform, self._config)
        now = max(self._pressure, pending / self._config.max_pending)
        if now >= SHED_AT[lane]:
            raise Overloaded(
                f"More waits than can be carried; {lane} jobs are refused first.", lane=lane,
                retry_after=UNKNOWN_RETRY_SECONDS if self._pressure >= SHED_AT[lane] else 1,
            )  # fmt: skip

    async def close(self) -> None:
        """Give the connection back."""
        await self._group.close()


def pressure(platform: Mapping[str, Level], config: IntakeConfig) -> float:
    """How near the platform is to what it can carry: 1 is that."""
    waiting = sum(level.jobs for level in platform.values()) / config.max_queued
    if config.max_wait is None:
        return waiting
    oldest = platform.get("interactive", NOTHING).age_seconds
    return max(waiting, oldest / config.max_wait.total_seconds())


def check(ceiling: Ceiling, level: Level, jobs: int, cost_nanousd: int, lane: str) -> None:
    """A tenant's ceiling against what waits and what came since. Raises QueueFull."""
    many, dear = level.jobs + jobs, level.cost_nanousd + cost_nanousd
    if ceiling.jobs is not None and many >= ceiling.jobs:
        beyond = (many - ceiling.jobs + 1) * _mean(level)
        raise _full(lane, "jobs", beyond, level)
    if ceiling.cost_nanousd is not None and dear >= ceiling.cost_nanousd:
        raise _full(lane, "cost", dear - ceiling.cost_nanousd + 1, level)
    if ceiling.age_seconds is not None and level.age_seconds > ceiling.age_seconds:
        raise _full(lane, "age", level.cost_nanousd, level)


def _full(lane: str, which: str, beyond_nanousd: float, level: Level) -> QueueFull:
    return QueueFull(
        f"Too much waits in the lane {lane}.", lane=lane, ceiling=which,
        retry_after=_seconds(beyond_nanousd, level),
    )  # fmt: skip


def wait_seconds(places: int, level: Level) -> float | None:
    """How long so many places of a lane may take at its pace, or None where nothing moves."""
    if level.pace_nanousd <= 0 or level.jobs <= 0:
        return None
    return places * _mean(level) * 60 / level.pace_nanousd


def _mean(level: Level) -> float:
    return level.cost_nanousd / level.jobs if level.jobs else 1.0


def _seconds(cost_nanousd: float, level: Level) -> int:
    if level.pace_nanousd <= 0:
        return UNKNOWN_RETRY_SECONDS
    seconds = math.ceil(cost_nanousd * 60 / level.pace_nanousd)
    return min(MAX_RETRY_SECONDS, max(1, seconds))


async def levels(session: AsyncSession, tenant: TenantId) -> dict[str, Level]:
    """What a tenant has waiting, by lane, as it was last counted."""
    rows = await session.execute(_LEVELS.text, {"tenants": [tenant]})
    return {lane: Level(*figures) for _, lane, *figures in rows}


async def level(session: AsyncSession, tenant: TenantId, lane: str) -> Level:
    """What a tenant has waiting in a lane, as it was last counted."""
    return (await levels(session, tenant)).get(lane, NOTHING)


async def _look(
    connection: psycopg.AsyncConnection[Any], tenants: Sequence[TenantId]
) -> list[dict[str, Level]]:
    found: dict[TenantId, dict[str, Level]] = {tenant: {} for tenant in tenants}
    cursor = await connection.execute(_LEVELS.raw, {"tenants": list(found)})
    for tenant, lane, *level in await cursor.fetchall():
        found[tenant][lane] = Level(*level)
    return [found[tenant] for tenant in tenants]
