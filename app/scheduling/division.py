"""Division: the workers' slots shared out to the shards, again and again, by what their tenants would run.

No two shards are ever granted the same slot. A shard that has more than its part releases nothing until it
has less; what frees is granted at the next division, so that no slot stays empty for longer than EVERY while
some shard could use it.

Between shards slots go by the weights of the tenants that wait, lane by lane; within a shard, by cost.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from app.core import statements
from app.scheduling import shards
from app.scheduling.config import SchedulingConfig
from app.scheduling.fairness import Pool
from app.scheduling.shards import BUCKETS, Held, kind

EVERY: Final = 0.25  # seconds
TURN_SECONDS: Final = 5.0  # how long a slot that doesn't divide stays with one shard
GOLDEN: Final = (
    0.618034  # turns that differ by this are spread evenly over all, however many there are
)
SHARE_UNIT: Final = 1_000  # shares within a shard are whole numbers of thousandths
STANDING: Final = (
    0.1  # of an even part of a lane: what a shard keeps of a lane that nobody there waits for
)

_USE = statements.load(__file__, "use")
_SLOTS = statements.load(__file__, "slots")
_RUNNING = statements.load(__file__, "running")
_GRANT = statements.load(__file__, "grant")

Connection = psycopg.AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Need:
    """What a shard does with one kind of worker."""

    used: int  # slots that its jobs have
    weight: float  # of those who wait for more; 0: nobody does
    waiting_use: int  # of `used`, what those have who wait for more


def divide(slots: int, needs: Sequence[Need], standby: int, turn: float = 0.0) -> list[int]:
    """How many slots of one kind of worker each shard may use from now on. `standby` free ones are kept for a
    shard where nobody waits; `turn`, from 0 to 1, says whose turn it is where the parts aren't whole.

    Never are more granted, or still in use beyond a grant, than there are or are in use already.
    """
    parts = _parts(slots, needs, standby)
    whole = _rounded(parts, turn)
    free = max(0, slots - sum(need.used for need in needs))
    lacks = [max(0, part - need.used) for part, need in zip(whole, needs, strict=True)]
    total = sum(lacks)
    given = _rounded([free * lack / total if total > free else lack for lack in lacks], turn)
    return [
        min(part, need.used) + extra for part, need, extra in zip(whole, needs, given, strict=True)
    ]


def _parts(slots: int, needs: Sequence[Need], standby: int) -> list[float]:
    """What each shard should have, in fractions of slots."""
    total = sum(need.weight for need in needs)
    if not total:
        rest = max(0, slots - sum(need.used for need in needs))
        return [need.used + rest / len(needs) for need in needs]
    kept = [need.used - need.waiting_use if need.weight else need.used for need in needs]
    idle = sum(1 for need in needs if not need.weight)
    rest = max(0, slots - sum(kept))
    spare = min(standby, rest // len(needs)) if idle else 0
    rest -= spare * idle
    return [
        have + (rest * need.weight / total if need.weight else spare)
        for have, need in zip(kept, needs, strict=True)
    ]


def _rounded(parts: Sequence[float], turn: float) -> list[int]:
    """Whole parts of the same sum, each within one of its fraction: whole turns of a running sum."""
    whole, before, at = [], int(turn), turn
    for part in parts:
        at += part
        now = int(at + 1e-9)
        whole.append(now - before)
        before = now
    return whole


def lane_shares(config: SchedulingConfig, held: Sequence[Held]) -> list[dict[str, int]]:
    """Each shard's lanes beside each other: a lane's share, by the part of those who wait that it has."""
    waiting = {
        lane: sum(shard.wants.get(lane, (0, 0))[0] for shard in held) for lane in config.shares
    }
    return [
        {
            lane: max(1, round(SHARE_UNIT * share * _part(shard, lane, waiting[lane], len(held))))
            for lane, share in config.shares.items()
        }
        for shard in held
    ]


def _part(shard: Held, lane: str, waiting: int, count: int) -> float:
    if not waiting:
        return 1 / count
    return max(shard.wants.get(lane, (0, 0))[0] / waiting, STANDING / count)


async def grant(connection: Connection, config: SchedulingConfig, turn: float = 0.0) -> None:
    """Divide the slots anew. One transaction that waits for the passes under way."""
    async with connection.transaction():
        held = await shards.held(connection, config)
        held = held[: held[0].shards]
        everything = {"low": 0, "high": BUCKETS - 1, "silence": config.worker_silence}
        workers = await (
            await connection.execute(_SLOTS.raw, {"silence": config.worker_silence})
        ).fetchall()
        claimed = await (await connection.execute(_USE.raw, everything)).fetchall()
        busy = await (await connection.execute(_RUNNING.raw, everything)).fetchall()
        pools = _pools(workers)
        used = _used(pools, claimed, busy, len(held))
        shares = lane_shares(config, held)
        grants: list[dict[str, int]] = [{} for _ in held]
        for pool in pools:
            needs = _needs(pool, used[kind(pool.lanes)], shares, held)
            spare = max(1, round(config.reserve * pool.slots / len(held)))
            for granted, slots in zip(grants, divide(pool.slots, needs, spare, turn), strict=True):
                granted[kind(pool.lanes)] = slots
        items = [
            {"id": shard.id, "grants": granted, "shares": own}
            for shard, granted, own in zip(held, grants, shares, strict=True)
        ]
        await connection.execute(_GRANT.raw, {"items": json.dumps(items)})


async def follow(
    connection: Connection, config: SchedulingConfig, passed: Callable[[], None]
) -> None:
    """Divide for ever; `passed` is called after each time."""
    clock = asyncio.get_running_loop().time
    while True:
        # One shard is not even looked at under its lock: its dispatcher would wait.
        if await shards.count(connection) > 1:
            await grant(connection, config, int(clock() / TURN_SECONDS) * GOLDEN % 1)
        passed()
        await asyncio.sleep(EVERY)


def _pools(workers: Sequence[Any]) -> list[Pool]:
    slots: Counter[frozenset[str]] = Counter()
    for worker in workers:
        slots[frozenset(worker.lanes)] += worker.slots
    return [Pool(lanes, count, 0) for lanes, count in slots.items()]


def _used(
    pools: Sequence[Pool], claimed: Sequence[Any], busy: Sequence[Any], count: int
) -> Mapping[str, list[int]]:
    """Slots in use by kind of worker, a figure a shard. What is on its way to a lane is counted where most of
    that lane's slots are.
    """
    used = {kind(pool.lanes): [0] * count for pool in pools}
    for row in claimed:
        used[kind(row.lanes)][shards.of_bucket(row.bucket, count)] += row.used
    for row in busy:
        serving = [pool for pool in pools if row.lane in pool.lanes]
        if row.unclaimed and serving:
            most = max(serving, key=lambda pool: pool.slots)
            used[kind(most.lanes)][shards.of_bucket(row.bucket, count)] += row.unclaimed
    return used


def _needs(
    pool: Pool, used: Sequence[int], shares: Sequence[Mapping[str, int]], held: Sequence[Held]
) -> list[Need]:
    needs = []
    for shard, own, using in zip(held, shares, used, strict=True):
        waiting = [lane for lane in shard.wants if lane in pool.lanes]
        needs.append(
            Need(
                using,
                sum(own.get(lane, 0) for lane in waiting),
                min(using, sum(shard.wants[lane][1] for lane in waiting)),
            )
        )
    return needs
