"""One pass of the dispatcher: free slots, fair shares, jobs released. What to publish is the answer."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

import psycopg

from app.core import statements
from app.core.ids import TenantId
from app.jobs import caps, endings, transitions
from app.jobs.caps import Cap
from app.jobs.transitions import End, Released
from app.scheduling import fairness, shards
from app.scheduling.config import SchedulingConfig
from app.scheduling.errors import NotLeading
from app.scheduling.fairness import Lane, Line, Plan, Pool, Waiting
from app.scheduling.shards import Lead
from app.switches import pauses
from app.switches.pauses import Scope

_LEAD = statements.load(__file__, "lead")
_LEADING = statements.load(__file__, "leading")
_SLOTS = statements.load(__file__, "slots")
_RUNNING = statements.load(__file__, "running")
_CAPS = statements.load(__file__, "caps")
_LINES = statements.load(__file__, "lines")
_DEEPER = statements.load(__file__, "deeper")
_USE = statements.load(__file__, "use")
_WANT = statements.load(__file__, "want")
_REMEMBER = statements.load(__file__, "remember")
_TIDY = statements.load(__file__, "tidy")

Connection = psycopg.AsyncConnection[Any]
# Every path of the dispatcher is an index, so a plan made once is as good as one made anew each pass,
# which would take longer than the pass.
SETTINGS: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    # A release that a crash of the server takes back is a job that is queued again; whatever builds on it,
    # such as a claim, makes it durable. Not waiting for the disk is half of a pass.
    "synchronous_commit": "off",
    # A leader that is frozen or cut off in a pass holds its shard no longer than its lock (workers/leadership.py).
    "idle_in_transaction_session_timeout": "2s",
}
WANTS_SECONDS: Final = (
    0.25  # how old a shard's report of who waits may be, while it has no slot to give
)
LINES_OF_TENANT: Final = 64  # seen in a lane and pass: a tenant with more kinds of work takes turns
LOOKS: Final = 3  # at lines that prove too short in one pass; then the next pass goes on


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass released, by lane and in the groups that go as one message; whether more may be found."""

    released: dict[str, list[list[Released]]]
    more: bool


async def lead(connection: Connection, shard: int = 0) -> Lead:
    """Take the lead of a shard. Raises NotLeading where there is no such shard any more."""
    row = await (await connection.execute(_LEAD.raw, {"shard": shard})).fetchone()
    if row is None:
        raise NotLeading("There is no such shard.")
    return Lead(shard, row.shards, row.epoch)


async def release(
    connection: Connection, lead: Lead, config: SchedulingConfig, lease: timedelta
) -> Pass:
    """Release jobs into free slots, fairly, under every cap. One transaction. Raises NotLeading.

    In a pipeline: what doesn't need an answer of the one before goes out with it.
    """
    buckets = {"low": lead.low, "high": lead.high}
    async with connection.pipeline(), connection.transaction():
        leading = await connection.execute(_LEADING.raw, {"shard": lead.shard, "epoch": lead.epoch})
        slots = await connection.execute(_SLOTS.raw, {"silence": config.worker_silence})
        part = None if lead.alone else await _part(connection, lead, config)
        led = await leading.fetchone()
        if led is None:
            raise NotLeading("Another dispatcher leads.")
        workers = await slots.fetchall()
        pools, free = pools_of(workers)
        if part is not None:
            pools = shards.own_pools(pools, led.grants, await part.fetchall())
            free = min(free, sum(pool.free for pool in pools))
            config = shards.own_lanes(config, led.shares)
        if free <= 0 and (lead.alone or led.wants_age_seconds < WANTS_SECONDS):
            return Pass({}, more=False)
        batch = max(1, min(free, config.batch))
        lines_bind = {
            "lanes": list(config.shares), "free": batch, "kinds": LINES_OF_TENANT,
            "half_life": config.half_life,
        }  # fmt: skip
        # Binary: a thousand lines are read in a third of the time.
        heads = await connection.execute(_LINES.raw, lines_bind | buckets, binary=True)
        active = await connection.execute(_RUNNING.raw, buckets)
        operators = await connection.execute(_CAPS.raw)
        rows = await heads.fetchall()
        if not rows and (lead.alone or not led.wants):
            return Pass({}, more=False)
        busy = await active.fetchall()
        lines = _lines(rows, await operators.fetchall())
        running, unclaimed = by_lane(busy)
        counts = counts_of(busy)
        if not lead.alone:
            # Against what its jobs have in all, too: they may be at workers of another kind than was granted.
            granted = sum(pool.slots for pool in pools) - running.total()
            free = max(0, min(free, sum(pool.free for pool in pools) - unclaimed.total(), granted))
            spanning = shards.spanning(lines)
            if spanning:
                counts = counts_of(await _held(connection, spanning, lines))
        levels = shards.levels_of(led.levels, led.age_seconds, config)
        lanes = lanes_of(config, pools, running, unclaimed, levels)
        made = fairness.plan(free, batch, lanes, lines, counts)
        for _ in range(LOOKS - 1):
            if not made.short:
                break
            await _deepen(connection, lines, made, batch)
            made = fairness.plan(free, batch, lanes, lines, counts)
        wants = {} if lead.alone else shards.wants(lines, made, counts, busy)
        if not made.picks:
            if not lead.alone:
                bind = {"shard": lead.shard, "wants": json.dumps(wants)}
                await connection.execute(_WANT.raw, bind)
            return Pass({}, more=False)
        released = await transitions.dispatch(connection, [job.job for _, job in made.picks], lease)
        await _remember(connection, lead, made, released, wants)
    complete = len(released) == len(made.picks) < config.batch and not made.short
    groups = grouped(released, config.grouped, [worker.lanes for worker in workers])
    return Pass(groups, more=bool(released) and not complete)


def grouped(
    released: Sequence[Released], most: Mapping[str, int], workers: Sequence[Collection[str]]
) -> dict[str, list[list[Released]]]:
    """Each lane's attempts in groups: no larger than its `most` (else one), and no fewer than its workers."""
    by_lane: dict[str, list[Released]] = defaultdict(list)
    for item in released:
        by_lane[item.lane].append(item)
    groups = {}
    for lane, items in by_lane.items():
        serving = max(1, sum(lane in lanes for lanes in workers))
        size = min(most.get(lane, 1), math.ceil(len(items) / serving))
        groups[lane] = [items[first : first + size] for first in range(0, len(items), size)]
    return groups


async def _part(
    connection: Connection, lead: Lead, config: SchedulingConfig
) -> psycopg.AsyncCursor[Any]:
    bind = {"low": lead.low, "high": lead.high, "silence": config.worker_silence}
    return await connection.execute(_USE.raw, bind)


def _allowed(rows: Sequence[Any]) -> dict[Cap, int]:
    return {(row.owner, row.kind, row.name): row.max_running for row in rows if not row.paused}


def _paused(rows: Sequence[Any]) -> frozenset[Scope]:
    return frozenset(Scope(row.kind, row.owner, row.name) for row in rows if row.paused)


async def _held(
    connection: Connection, spanning: Sequence[Cap], lines: list[Line]
) -> Sequence[Any]:
    """Hold caps that count over all shards, in key order, and read the lines' limits and what runs anew.

    Gives what runs in every shard, as it is while the caps are held.
    """
    allowed = await shards.hold_caps(connection, spanning)
    for place, line in enumerate(lines):
        most = {
            cap: allowed.get(cap, was)
            for cap, was in line.most.items()
            if cap in allowed or cap not in spanning
        }
        lines[place] = replace(line, most=most)
    everywhere = {"low": 0, "high": shards.BUCKETS - 1}
    return await (await connection.execute(_RUNNING.raw, everywhere)).fetchall()


def pools_of(workers: Sequence[Any]) -> tuple[list[Pool], int]:
    """The workers by what they serve, and how many of their slots are free in all."""
    slots: Counter[frozenset[str]] = Counter()
    free: Counter[frozenset[str]] = Counter()
    for worker in workers:
        served = frozenset(worker.lanes)
        slots[served] += worker.slots
        free[served] += max(0, worker.free)
    unclaimed = workers[0].unclaimed if workers else 0
    pools = [Pool(served, count, free[served]) for served, count in slots.items()]
    return pools, free.total() - unclaimed


def lanes_of(
    config: SchedulingConfig,
    pools: Sequence[Pool],
    running: Mapping[str, int],
    unclaimed: Mapping[str, int],
    levels: Mapping[str, float],
) -> dict[str, Lane]:
    """The lanes as a plan needs them, from what workers offer and what runs."""
    own = fairness.own_slots(pools, config.shares)
    reserves = fairness.reserves(pools, config.shares, config.reserve)
    return {
        lane: Lane(
            share=share, level=levels.get(lane, 0.0), running=running.get(lane, 0),
            own=own[lane],
            free=sum(pool.free for pool in pools if lane in pool.lanes) - unclaimed.get(lane, 0),
            reserve=reserves[lane],
        )
        for lane, share in config.shares.items()
    }  # fmt: skip


def _lines(rows: Sequence[Any], operators: Sequence[Any]) -> list[Line]:
    allowed, paused = _allowed(operators), _paused(operators)
    found: dict[tuple[str, TenantId, int], tuple[Any, list[Waiting]]] = {}
    for row in rows:
        place = (row.lane, row.tenant, row.cap_group)
        _, jobs = found.setdefault(place, (row, []))
        jobs.append(Waiting(row.job, row.rank, row.cost))
    return [
        Line(
            row.lane, row.tenant, row.cap_group, row.weight, row.had,
            caps.counted(row.tenant, row.workflow, row.key, row.limits), _most(row, allowed),
            jobs, cut=len(jobs) == row.depth,
        )
        for row, jobs in found.values()
        if not (paused and paused.intersection(pauses.over(row.tenant, row.lane, row.workflow)))
    ]  # fmt: skip


def _most(row: Any, operators: Mapping[Cap, int]) -> dict[Cap, int]:
    """The caps of a line: its tenant's, its workflow's own, the operators'; the lowest of each."""
    most: dict[Cap, int] = {(row.tenant, "all", ""): row.tenant_most}
    if row.limits is not None:
        most |= caps.own(row.tenant, row.workflow, row.limits)
    if operators:
        for cap in caps.counted(row.tenant, row.workflow, row.key, row.limits):
            if cap in operators:
                most[cap] = min(operators[cap], most.get(cap, operators[cap]))
    return most


def by_lane(busy: Sequence[Any]) -> tuple[Counter[str], Counter[str]]:
    running: Counter[str] = Counter()
    unclaimed: Counter[str] = Counter()
    for row in busy:
        running[row.lane] += row.running
        unclaimed[row.lane] += row.unclaimed
    return running, unclaimed


def counts_of(busy: Sequence[Any]) -> Counter[Cap]:
    counts: Counter[Cap] = Counter()
    for row in busy:
        for cap in caps.counted(row.tenant, row.workflow, row.key, row.limits):
            counts[cap] += row.running
    return counts


async def _deepen(connection: Connection, lines: list[Line], made: Plan, batch: int) -> None:
    """Replace the lines that were too short by more of them."""
    short = [lines[place] for place in made.short]
    depth = depth_of(short, batch, made)
    bind = {
        "lanes": [line.lane for line in short], "tenants": [line.tenant for line in short],
        "groups": [line.group for line in short], "depth": depth,
    }  # fmt: skip
    jobs: dict[tuple[str, TenantId, int], list[Waiting]] = defaultdict(list)
    for row in await (await connection.execute(_DEEPER.raw, bind)).fetchall():
        jobs[row.lane, row.tenant, row.cap_group].append(Waiting(row.job, row.rank, row.cost))
    for place in made.short:
        line = lines[place]
        seen = jobs[line.lane, line.tenant, line.group]
        lines[place] = replace(line, jobs=seen, cut=len(seen) == depth)


def depth_of(short: Sequence[Line], batch: int, made: Plan) -> int:
    """How far to look down lines that were too short: twice their part of what may still be released."""
    left = batch - len(made.picks)
    return min(batch, max(len(line.jobs) for line in short) + 1 + 2 * left // len(short))


async def _remember(
    connection: Connection,
    lead: Lead,
    made: Plan,
    released: Sequence[Released],
    wants: Mapping[str, tuple[int, int]],
) -> None:
    costs: Counter[tuple[str, TenantId]] = Counter()
    for item in released:
        costs[item.lane, item.tenant] += item.predicted_nanousd
    bind = {
        "lanes": [lane for lane, _ in made.had], "tenants": [tenant for _, tenant in made.had],
        "had": list(made.had.values()), "costs": [costs[place] for place in made.had],
        "levels": json.dumps(made.levels), "shard": lead.shard, "wants": json.dumps(wants),
    }  # fmt: skip
    await connection.execute(_REMEMBER.raw, bind)


async def unpublish(connection: Connection, items: Sequence[Released]) -> None:
    """Return what the broker did not take to the queue, at no cost to the jobs."""
    ends = [
        End(item.job, item.attempt, "", {}, endings.unpublished(), from_state="dispatched")
        for item in items
    ]
    await transitions.end(connection, ends)


async def tidy(connection: Connection) -> None:
    """Delete what fairness remembers of long ago and the rows of workers long gone."""
    await connection.execute(_TIDY.raw)
