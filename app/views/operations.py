"""The queue as operators see it: what is paused or drained and what is left of it; lanes; workers."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.attempts.models import Attempt, Worker
from app.audit import trail
from app.audit.trail import PLATFORM
from app.core import ids, statements
from app.core.errors import NotFound
from app.core.ids import TenantId, WorkerId
from app.scheduling.config import SchedulingConfig
from app.switches import pauses
from app.switches.models import Pause
from app.switches.pauses import Scope
from app.tenants.models import Tenant

MOST: Final = 10_000  # more of anything is told as this

_LEFT: Final = statements.load(__file__, "left")
_WORKERS: Final = statements.load(__file__, "workers")
_LANES: Final = statements.load(__file__, "lanes")


@dataclass(frozen=True, slots=True)
class Left:
    """What there still is: queued, with a worker (or on its way to one), waiting or scheduled."""

    queued: int
    running: int
    waiting: int

    @property
    def none(self) -> bool:
        """Whether all of it has ended."""
        return self.queued + self.running + self.waiting == 0


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the queue: whose it is by slug, what holds for it by mode, what is left of it."""

    scope: Scope
    slug: str | None
    holds: Mapping[str, Pause]
    left: Left

    @property
    def name(self) -> str:
        """What it is called by: a tenant's slug, a worker's public id."""
        if self.scope.kind == "worker":
            return ids.wire("wrk", UUID(self.scope.name))
        return self.scope.name or self.slug or ""


@dataclass(frozen=True, slots=True)
class WorkerView:
    """A worker process."""

    id: WorkerId
    host: str
    pid: int
    lanes: Sequence[str]
    slots: int
    running: int
    state: str  # live, held, drained, stopping, silent
    started_at: datetime
    seen_at: datetime
    holds: Mapping[str, Pause]


@dataclass(frozen=True, slots=True)
class LaneView:
    """A lane over all tenants. What waits is as it was counted last."""

    name: str
    share: int
    queued: int
    cost_nanousd: int
    oldest_seconds: float
    running: int
    workers: int
    slots: int
    holds: Mapping[str, Pause]


async def parts(session: AsyncSession) -> list[Part]:
    """Everything that is paused or drained, those over all tenants first."""
    by_scope: dict[Scope, dict[str, Pause]] = defaultdict(dict)
    for row in await pauses.listed(session):
        by_scope[Scope(row.kind, row.owner, row.name)][row.mode] = row
    return [
        Part(scope, await _slug(session, scope), holds, await left(session, scope))
        for scope, holds in by_scope.items()
    ]


async def move(
    session: AsyncSession, scope: Scope, verb: str, *, actor: trail.Actor, reason: str
) -> Part:
    """Pause, resume or drain a part of the queue. Raises NotFound for a tenant or a worker that isn't there,
    Invalid.
    """
    moves = {"pause": pauses.pause, "resume": pauses.resume, "drain": pauses.drain}
    if scope.kind == "worker" and await session.get(Worker, WorkerId(UUID(scope.name))) is None:
        raise NotFound("There is no such worker.")
    slug = await _slug(session, scope)
    await moves[verb](session, scope, actor=actor, reason=reason)
    found = await pauses.of(session, scope)
    return Part(scope, slug, {row.mode: row for row in found}, await left(session, scope))


async def left(session: AsyncSession, scope: Scope) -> Left:
    """What there still is of a part of the queue, counted now; up to MOST of each."""
    if scope.kind == "worker":
        mine = (Attempt.worker == UUID(scope.name), Attempt.ended_at.is_(None))
        count = await session.scalar(select(func.count()).where(*mine))
        return Left(0, int(count or 0), 0)
    bind = {
        "tenant": None if scope.owner == PLATFORM else scope.owner,
        "lane": scope.name if scope.kind == "lane" else None,
        "workflow": scope.name if scope.kind == "workflow" else None,
        "most": MOST,
    }
    return Left(*(await session.execute(_LEFT.text, bind)).one())


async def workers(session: AsyncSession, config: SchedulingConfig) -> list[WorkerView]:
    """The workers that were heard of in the last hour, the youngest first."""
    holds = await _holds(session, "worker")
    rows = await session.execute(_WORKERS.text, {"silence": config.worker_silence})
    return [
        WorkerView(
            row.id, row.host, row.pid, row.lanes, row.slots, row.running,
            _state(row, held := holds.get(str(row.id), {})), row.started_at, row.seen_at, held,
        )
        for row in rows
    ]  # fmt: skip


def _state(row: Any, holds: Mapping[str, Pause]) -> str:
    if not row.alive:
        return "silent"
    if row.stopping:
        return "stopping"
    if holds:
        return "held" if row.running else "drained"
    return "live"


async def lanes(session: AsyncSession, config: SchedulingConfig) -> list[LaneView]:
    """The lanes, in the order of their shares."""
    holds = await _holds(session, "lane")
    bind = {"lanes": list(config.lanes), "platform": PLATFORM}
    rows = {row.lane: row for row in await session.execute(_LANES.text, bind)}
    live = [one for one in await workers(session, config) if one.state == "live"]
    found = []
    for lane, share in config.lanes.items():
        row, serving = rows[lane], [one for one in live if lane in one.lanes]
        slots = sum(one.slots for one in serving)
        found.append(
            LaneView(
                lane, share, row.queued, row.cost_nanousd, row.age_seconds, row.running,
                len(serving), slots, holds.get(lane, {}),
            )
        )  # fmt: skip
    return found


async def _holds(session: AsyncSession, kind: str) -> dict[str, dict[str, Pause]]:
    """What holds for parts of this kind over all tenants, by name and mode."""
    found: dict[str, dict[str, Pause]] = defaultdict(dict)
    for row in await pauses.listed(session):
        if row.kind == kind and row.owner == PLATFORM:
            found[row.name][row.mode] = row
    return found


async def _slug(session: AsyncSession, scope: Scope) -> str | None:
    if scope.owner == PLATFORM:
        return None
    tenant = await session.get(Tenant, TenantId(scope.owner))
    if tenant is None:
        raise NotFound("There is no such tenant.")
    return tenant.slug
