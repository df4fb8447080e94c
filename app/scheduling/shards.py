"""Shards: each dispatcher serves the tenants of a range of buckets, and releases into its part of the slots.

A tenant's bucket is a random byte of its id (`job.bucket`), so that a tenant is in one shard with all it has.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from app.audit.trail import PLATFORM
from app.core import statements
from app.core.ids import TenantId
from app.jobs.caps import Cap
from app.scheduling.config import MAX_SHARDS, SchedulingConfig
from app.scheduling.fairness import Line, Plan, Pool

BUCKETS: Final = 256  # a byte's
LOCK_FAMILY: Final = 7_214_001  # the first half of a shard's lock; the second is its number
assert BUCKETS >= MAX_SHARDS  # noqa: S101 - a shard without a bucket would have no tenants

_COUNT = statements.load(__file__, "count_shards")
_HOLD = statements.load(__file__, "hold_shards")
_LAY_OUT = statements.load(__file__, "lay_out")
_HOLD_CAPS = statements.load(__file__, "hold_caps")

Connection = psycopg.AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Lead:
    """The lead of one shard of so many, as long as nobody raises its epoch."""

    shard: int
    shards: int
    epoch: int

    @property
    def alone(self) -> bool:
        """Whether this shard is all there is: then nothing is divided."""
        return self.shards == 1

    @property
    def low(self) -> int:
        """The first bucket of its tenants."""
        return first_bucket(self.shard, self.shards)

    @property
    def high(self) -> int:
        """The last bucket of its tenants."""
        return first_bucket(self.shard + 1, self.shards) - 1


@dataclass(frozen=True, slots=True)
class Held:
    """A shard's row, held so that its dispatcher makes no pass meanwhile."""

    id: int
    shards: int
    wants: dict[str, tuple[int, int]]
    levels: dict[str, float]  # decayed to now


def first_bucket(shard: int, shards: int) -> int:
    """Where a shard's range begins: ranges differ by one bucket at most."""
    return shard * BUCKETS // shards


def of_bucket(bucket: int, shards: int) -> int:
    """The shard that a bucket is in."""
    return ((bucket + 1) * shards - 1) // BUCKETS


def kind(lanes: Iterable[str]) -> str:
    """The name of workers that serve the same lanes, as grants have it."""
    return ",".join(sorted(lanes))


async def count(connection: Connection) -> int:
    """How many shards there are."""
    row = await (await connection.execute(_COUNT.raw)).fetchone()
    assert row is not None  # noqa: S101 - the first migration made the row
    return int(row.shards)


async def lay_out(connection: Connection, shards: int, config: SchedulingConfig) -> bool:
    """Let there be so many shards. Gives whether that is a change; every dispatcher then leads anew.

    One transaction, in which no pass is under way: a job is released under the old number or the new.
    """
    async with connection.transaction():
        rows = await held(connection, config)
        if rows[0].shards == shards:
            return False
        reached: dict[str, float] = defaultdict(float)
        for row in rows[: rows[0].shards]:
            for lane, level in row.levels.items():
                # The highest: whoever comes from a shard that was served less starts level, at no one's cost.
                reached[lane] = max(reached[lane], level)
        await connection.execute(_LAY_OUT.raw, {"shards": shards, "levels": json.dumps(reached)})
    return True


async def held(connection: Connection, config: SchedulingConfig) -> list[Held]:
    """All shards' rows by id, locked to the end of the caller's transaction."""
    rows = await (await connection.execute(_HOLD.raw)).fetchall()
    return [
        Held(
            row.id,
            row.shards,
            {lane: (weight, used) for lane, (weight, used) in row.wants.items()},
            levels_of(row.levels, row.age_seconds, config),
        )
        for row in rows
    ]


def levels_of(
    levels: Mapping[str, float], age_seconds: float, config: SchedulingConfig
) -> dict[str, float]:
    """The lanes' levels as they are now: they decay like what was released."""
    left = 0.5 ** (age_seconds / config.half_life.total_seconds())
    return {lane: level * left for lane, level in levels.items()}


def own_pools(
    pools: Iterable[Pool], grants: Mapping[str, int], claimed: Iterable[Any]
) -> list[Pool]:
    """The workers as a shard sees them: the slots that it was granted, less what its tenants' attempts have."""
    used: Counter[str] = Counter()
    for row in claimed:
        used[kind(row.lanes)] += row.used
    mine = []
    for pool in pools:
        name = kind(pool.lanes)
        slots = int(grants.get(name, 0))
        mine.append(Pool(pool.lanes, slots, min(pool.free, max(0, slots - used[name]))))
    return mine


def own_lanes(config: SchedulingConfig, shares: Mapping[str, int]) -> SchedulingConfig:
    """The settings with the lanes' shares as they are within a shard."""
    lanes = {lane: int(shares.get(lane, share)) for lane, share in config.lanes.items()}
    return config.model_copy(update={"lanes": lanes})


def spanning(lines: Iterable[Line]) -> list[Cap]:
    """The caps of these lines that count jobs of other shards too, in key order."""
    return sorted({cap for line in lines for cap in line.most if cap[0] == PLATFORM})


async def hold_caps(connection: Connection, caps: Sequence[Cap]) -> dict[Cap, int]:
    """Lock caps over all tenants for the rest of a pass; what they allow now, those that are still set."""
    bind = {
        "owner": PLATFORM, "kinds": [kind for _, kind, _ in caps], "names": [name for _, _, name in caps],
    }  # fmt: skip
    rows = await (await connection.execute(_HOLD_CAPS.raw, bind)).fetchall()
    return {(row.owner, row.kind, row.name): row.max_running for row in rows}


def wants(
    lines: Sequence[Line], made: Plan, running: Mapping[Cap, int], busy: Iterable[Any]
) -> dict[str, tuple[int, int]]:
    """By lane, whose jobs would run if the shard had more slots: their tenants' weight, and what these run now.

    `running` counts under each cap before the plan, `busy` are the rows it comes from.
    """
    counts, taken = Counter(running), Counter[tuple[str, TenantId, int]]()
    picked: Counter[tuple[str, TenantId]] = Counter()
    for line, _ in made.picks:
        taken[line.lane, line.tenant, line.group] += 1
        picked[line.lane, line.tenant] += 1
        counts.update(line.counted)
    hungry = {
        (line.lane, line.tenant): line.weight
        for line in lines
        if (line.cut or taken[line.lane, line.tenant, line.group] < len(line.jobs))
        and all(counts[cap] < most for cap, most in line.most.items())
    }
    used: Counter[str] = Counter()
    for row in busy:
        if (row.lane, row.tenant) in hungry:
            used[row.lane] += row.running
    weights: Counter[str] = Counter()
    for (lane, tenant), weight in hungry.items():
        weights[lane] += weight
        used[lane] += picked[lane, tenant]
    return {lane: (weight, used[lane]) for lane, weight in weights.items()}
