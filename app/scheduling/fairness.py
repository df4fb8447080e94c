"""Fairness, pure: who gets the next free slot, one slot at a time.

Between lanes: the lane that has the least of its share. A lane may use more than its share while others
don't need theirs, but leaves a reserve free; what it has above its share comes back as its jobs end.

Between tenants of a lane: who has had the least for its weight. What a tenant has had is the predicted cost
of what was released to it in this lane, charged once, at its release, and decayed from then on. All decay
alike, so that no one overtakes another by waiting; and who comes back from idleness, or from under a full
cap, starts level with whom the lane serves at that moment: neither earns credit. Source: start-time fair
queueing (Goyal, Vin, Cheng, 1996); a tenant's level is its start tag, a lane's level the virtual time.

Within a tenant: by rank, passing over what stands under a full cap.
"""

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from app.core.ids import JobId, TenantId
from app.jobs.caps import Cap


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane, as the rows tell it."""

    share: int
    level: float  # of whom it served last, decayed
    running: int  # dispatched or running
    own: int  # slots that are its share
    free: int  # slots free at workers that serve it
    reserve: int  # of these, how many it may not take beyond its own


@dataclass(frozen=True, slots=True)
class Waiting:
    """A queued job."""

    job: JobId
    rank: datetime
    cost: float  # what it will probably cost, in nano-dollars


@dataclass(frozen=True, slots=True)
class Line:
    """The head of one tenant's queue in one lane, of jobs under the same caps, by rank."""

    lane: str
    tenant: TenantId
    group: int  # caps.group
    weight: int
    had: float  # by the tenant in this lane, decayed
    counted: tuple[Cap, ...]  # what its jobs count under
    most: Mapping[Cap, int]  # the caps among these
    jobs: Sequence[Waiting]
    cut: bool  # there may be more behind those shown


@dataclass(slots=True)
class Plan:
    """Which jobs to release, in order, and what to remember of it.

    `short` are the lines (by place) whose unseen jobs might come next: nothing is picked out of order, so a
    plan that needs them stops there.
    """

    picks: list[tuple[Line, Waiting]] = field(default_factory=list)
    had: dict[tuple[str, TenantId], float] = field(default_factory=dict)
    levels: dict[str, float] = field(default_factory=dict)
    short: list[int] = field(default_factory=list)


def plan(
    slots: int,
    batch: int,
    lanes: Mapping[str, Lane],
    lines: Sequence[Line],
    running: Mapping[Cap, int],
) -> Plan:
    """Fill up to `slots` free slots with up to `batch` jobs. `running` counts jobs under each cap.

    No slot stays free while a job may run: one whose caps and whose lane have room.
    """
    made = Plan(levels={name: lane.level for name, lane in lanes.items()})
    counts = dict(running)
    queues = _queues(lanes, lines)
    left = {name: lane.free for name, lane in lanes.items()}
    used = {name: lane.running for name, lane in lanes.items()}
    heap = [(used[name] / lanes[name].share, -lanes[name].share, name) for name in queues]
    heapq.heapify(heap)
    while slots and len(made.picks) < batch and heap:
        level, negative, name = heapq.heappop(heap)
        lane = lanes[name]
        free = min(slots, left[name])
        if free <= (lane.reserve if used[name] >= lane.own else 0):
            continue
        picked = queues[name].next(counts, made)
        if made.short:
            break
        if not picked:
            continue
        slots -= 1
        left[name] -= 1
        used[name] += 1
        heapq.heappush(heap, (level + 1 / lane.share, negative, name))
    return made


class _Queue:
    """One lane's tenants by level, each with its lines by rank."""

    def __init__(self, level: float) -> None:
        self._floor = level
        self._lines: dict[TenantId, list[tuple[datetime, JobId, int, int]]] = {}
        self._places: dict[int, Line] = {}
        self._heap: list[tuple[float, datetime, JobId, TenantId]] = []

    def enter(self, place: int, line: Line) -> None:
        self._places[place] = line
        head = line.jobs[0]
        self._lines.setdefault(line.tenant, []).append((head.rank, head.job, place, 0))

    def begin(self) -> None:
        for tenant, lines in self._lines.items():
            heapq.heapify(lines)
            rank, job, place, _ = lines[0]
            line = self._places[place]
            # No credit: whoever is behind the lane's own level starts at it.
            level = max(line.had / line.weight, self._floor)
            self._heap.append((level, rank, job, tenant))
        heapq.heapify(self._heap)

    def next(self, counts: dict[Cap, int], made: Plan) -> bool:
        """Pick the next job, or tell in `made.short` what must be seen first. False: none may run."""
        while self._heap:
            level, _, _, tenant = heapq.heappop(self._heap)
            lines = self._lines[tenant]
            while lines:
                place, at = lines[0][2:]
                line = self._places[place]
                if _full(line, counts):
                    heapq.heappop(lines)
                    continue
                if at == len(line.jobs):
                    made.short = self._unseen()
                    return False
                self._take(level, place, at, counts, made)
                return True
        return False

    def _take(self, level: float, place: int, at: int, counts: dict[Cap, int], made: Plan) -> None:
        line = self._places[place]
        job = line.jobs[at]
        lines = self._lines[line.tenant]
        if at + 1 < len(line.jobs):
            following = line.jobs[at + 1]
            heapq.heapreplace(lines, (following.rank, following.job, place, at + 1))
        elif line.cut:  # what follows ranks no earlier than this
            heapq.heapreplace(lines, (job.rank, job.job, place, at + 1))
        else:
            heapq.heappop(lines)
        for cap in line.counted:
            counts[cap] = counts.get(cap, 0) + 1
        made.picks.append((line, job))
        made.levels[line.lane] = max(made.levels[line.lane], level)
        after = level + job.cost / line.weight
        made.had[line.lane, line.tenant] = after * line.weight
        if lines:
            heapq.heappush(self._heap, (after, lines[0][0], lines[0][1], line.tenant))

    def _unseen(self) -> list[int]:
        return [
            place
            for lines in self._lines.values()
            for _, _, place, at in lines
            if at == len(self._places[place].jobs)
        ]


def _queues(lanes: Mapping[str, Lane], lines: Sequence[Line]) -> dict[str, _Queue]:
    queues: dict[str, _Queue] = {}
    for place, line in enumerate(lines):
        if line.lane in lanes and line.jobs:
            queue = queues.setdefault(line.lane, _Queue(lanes[line.lane].level))
            queue.enter(place, line)
    for queue in queues.values():
        queue.begin()
    return queues


def _full(line: Line, counts: Mapping[Cap, int]) -> bool:
    return any(counts.get(cap, 0) >= most for cap, most in line.most.items())


@dataclass(frozen=True, slots=True)
class Pool:
    """Workers that serve the same lanes."""

    lanes: frozenset[str]
    slots: int
    free: int


def own_slots(pools: Iterable[Pool], shares: Mapping[str, int]) -> dict[str, int]:
    """How many slots are each lane's own: its share of every pool that serves it, and at least one."""
    own = dict.fromkeys(shares, 0)
    for pool in pools:
        served = {lane: share for lane, share in shares.items() if lane in pool.lanes}
        total = sum(served.values())
        # The whole parts, then a slot each to the largest remainders: together all of the pool.
        for lane, share in served.items():
            own[lane] += pool.slots * share // total
        rest = pool.slots - sum(pool.slots * share // total for share in served.values())
        by_remainder = sorted(served, key=lambda lane: -(pool.slots * served[lane] % total))
        for lane in by_remainder[:rest]:
            own[lane] += 1
    return {lane: max(1, slots) for lane, slots in own.items()}


def reserves(pools: Iterable[Pool], shares: Mapping[str, int], part: float) -> dict[str, int]:
    """How many free slots each lane leaves to the others beyond its own: `part` of the slots that it shares
    with them, rounded up, and at least one. A lane that shares no worker leaves none.
    """
    shared = dict.fromkeys(shares, 0)
    for pool in pools:
        served = [lane for lane in shares if lane in pool.lanes]
        for lane in served if len(served) > 1 else ():
            shared[lane] += pool.slots
    return {
        # Whole billionths, or a tenth of 70 would be a little more than 7.
        lane: max(1, math.ceil(round(slots * part, 9))) if slots and part else 0
        for lane, slots in shared.items()
    }
