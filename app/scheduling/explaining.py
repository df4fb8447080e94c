"""Whether a queued job could leave now, by the figures that a pass of the dispatcher looks at."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.core import statements
from app.jobs import caps
from app.jobs.caps import Cap
from app.jobs.models import Job
from app.scheduling import capping, dispatch, shards
from app.scheduling.config import SchedulingConfig
from app.scheduling.models import DispatchShard
from app.tenants.models import Tenant

_RUNNING = statements.load(__file__, "running")
_COULD_RUN = statements.load(__file__, "could_run")


@dataclass(frozen=True, slots=True)
class Full:
    """A cap that the job stands under and that is reached."""

    cap: Cap
    most: int
    running: int


@dataclass(frozen=True, slots=True)
class Chances:
    """What stands between a queued job and a worker, but for its turn."""

    full: Sequence[Full]
    workers: int  # that take work and serve its lane
    led: bool  # a dispatcher is there for its tenant
    room: bool  # a slot is free that its lane may use


async def chances(
    session: AsyncSession, job: Job, tenant: Tenant, config: SchedulingConfig
) -> Chances:
    """What the dispatcher would see of this job now. Three short reads, by what runs and not by what waits."""
    everywhere = {"low": 0, "high": shards.BUCKETS - 1}
    busy = (await session.execute(_RUNNING.text, everywhere)).all()
    first = await session.get_one(DispatchShard, 0)
    bind = {
        "silence": config.worker_silence, "family": shards.LOCK_FAMILY,
        "shard": shards.of_bucket(job.bucket, first.shards),
    }  # fmt: skip
    rows = (await session.execute(_COULD_RUN.text, bind)).all()
    workers = [row for row in rows if row.lanes is not None]
    serving = sum(job.lane in row.lanes for row in workers)
    room = _room(job.lane, workers, busy, config)
    return Chances(await _full(session, job, tenant, busy), serving, rows[0].led, room)


def _room(lane: str, workers: Sequence[Any], busy: Sequence[Any], config: SchedulingConfig) -> bool:
    pools, free = dispatch.pools_of(workers)
    running, unclaimed = dispatch.by_lane(busy)
    mine = dispatch.lanes_of(config, pools, running, unclaimed, {})[lane]
    kept = mine.reserve if mine.running >= mine.own else 0
    return min(free, mine.free) > kept


async def _full(session: AsyncSession, job: Job, tenant: Tenant, busy: Sequence[Any]) -> list[Full]:
    most: dict[Cap, int] = {(job.tenant, "all", ""): tenant.max_running}
    most |= caps.own(job.tenant, job.workflow, job.limits)
    under = caps.counted(job.tenant, job.workflow, job.key, job.limits)
    for row in await capping.listed(session):
        cap = row.owner, row.kind, row.name
        if cap in under:
            most[cap] = min(row.max_running, most.get(cap, row.max_running))
    counts = dispatch.counts_of(busy)
    return [
        Full(cap, most[cap], counts[cap])
        for cap in under
        if cap in most and counts[cap] >= most[cap]
    ]
