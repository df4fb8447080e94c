"""A queue in virtual time: rows and workers are lists here, every decision is the platform's own code."""

import heapq
import math
from bisect import insort
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta

from app.core import ids
from app.core.ids import JobId, TenantId
from app.jobs.caps import Cap
from app.scheduling import dispatch, fairness, shards
from app.scheduling.config import SchedulingConfig
from app.scheduling.fairness import Line, Plan, Pool, Waiting
from tests.scheduling.queues import at

HEAD_START_SECONDS = 60  # a step of priority, as admission takes it
TICK = 0.25  # seconds between two passes


@dataclass(frozen=True, slots=True, order=True)
class Job:
    """What a client asks for, at a moment, and how long it will take. Ordered by rank."""

    rank: float = field(init=False)
    arrives: float
    tenant: TenantId = field(compare=False)
    lane: str = field(compare=False, default="standard")
    priority: int = field(compare=False, default=4)
    seconds: float = field(compare=False, default=1.0)
    cost: float = field(compare=False, default=10.0)
    id: JobId = field(default_factory=lambda: JobId(ids.new()))

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", self.arrives - self.priority * HEAD_START_SECONDS)


@dataclass(slots=True)
class World:
    """Slots, queues and the memory of fairness. `starts` says when each job began."""

    slots: int
    config: SchedulingConfig = field(default_factory=SchedulingConfig)
    weights: dict[TenantId, int] = field(default_factory=dict)
    caps: dict[TenantId, int] = field(default_factory=dict)
    now: float = 0.0
    queues: dict[tuple[str, TenantId], list[Job]] = field(default_factory=lambda: defaultdict(list))
    active: list[tuple[float, JobId, Job]] = field(default_factory=list)
    running: Counter[str] = field(default_factory=Counter)
    running_of: Counter[TenantId] = field(default_factory=Counter)
    had: dict[tuple[str, TenantId], float] = field(default_factory=dict)
    levels: dict[str, float] = field(default_factory=dict)
    starts: dict[JobId, float] = field(default_factory=dict)
    order: list[Job] = field(default_factory=list)
    used: list[tuple[float, dict[str, int]]] = field(default_factory=list)

    @property
    def free(self) -> int:
        return self.slots - self.running.total()

    def run(self, jobs: list[Job], until: float) -> None:
        """Let jobs arrive and be released, tick by tick."""
        coming = sorted(jobs, key=lambda job: job.arrives)
        place = 0
        while self.now < until:
            while place < len(coming) and coming[place].arrives <= self.now:
                job = coming[place]
                insort(self.queues[job.lane, job.tenant], job)
                place += 1
            self._end()
            while self._pass():
                pass
            self.used.append((self.now, dict(self.running)))
            self.now += TICK
            self._decay()

    def _end(self) -> None:
        while self.active and self.active[0][0] <= self.now:
            _, _, job = heapq.heappop(self.active)
            self.running[job.lane] -= 1
            self.running_of[job.tenant] -= 1

    def _decay(self) -> None:
        half_life = self.config.half_life / timedelta(seconds=1)
        left = 0.5 ** (TICK / half_life)
        self.levels = shards.levels_of(self.levels, TICK, self.config)
        self.had = {place: cost * left for place, cost in self.had.items() if cost > 1e-6}

    def _pass(self) -> bool:
        """One pass, as `dispatch.release` makes it. Says whether another may find more at once."""
        free = self.free
        batch = min(free, self.config.batch)
        lines = self._lines(batch) if batch else []
        if not lines:
            return False
        pools = [Pool(frozenset(self.config.lanes), self.slots, free)]
        lanes = dispatch.lanes_of(self.config, pools, self.running, {}, self.levels)
        counts: dict[Cap, int] = {(who, "all", ""): n for who, n in self.running_of.items()}
        made = fairness.plan(free, batch, lanes, lines, counts)
        for _ in range(dispatch.LOOKS - 1):
            if not made.short:
                break
            depth = dispatch.depth_of([lines[place] for place in made.short], batch, made)
            for place in made.short:
                lines[place] = self._line(lines[place].lane, lines[place].tenant, depth)
            made = fairness.plan(free, batch, lanes, lines, counts)
        self._release(made)
        return bool(made.picks) and (bool(made.short) or len(made.picks) == self.config.batch)

    def _release(self, made: Plan) -> None:
        self.had |= made.had
        self.levels = made.levels
        for line, picked in made.picks:
            queue = self.queues[line.lane, line.tenant]
            job = queue.pop(next(n for n, job in enumerate(queue) if job.id == picked.job))
            if not queue:
                del self.queues[line.lane, line.tenant]
            heapq.heappush(self.active, (self.now + job.seconds, job.id, job))
            self.running[job.lane] += 1
            self.running_of[job.tenant] += 1
            self.starts[job.id] = self.now
            self.order.append(job)

    def _lines(self, batch: int) -> list[Line]:
        """As lines.sql: of each line so many jobs as twice its part of the slots."""
        total = sum(self.weights.get(tenant, 1) for _, tenant in self.queues)
        return [
            self._line(
                lane, tenant,
                max(1, min(batch, math.ceil(2 * batch * self.weights.get(tenant, 1) / total))),
            )
            for lane, tenant in self.queues
        ]  # fmt: skip

    def _line(self, lane: str, tenant: TenantId, depth: int) -> Line:
        shown = self.queues[lane, tenant][:depth]
        cap: Cap = (tenant, "all", "")
        return Line(
            lane, tenant, 0, self.weights.get(tenant, 1), self.had.get((lane, tenant), 0.0), (cap,),
            {cap: self.caps.get(tenant, 1_000)},
            [Waiting(job.id, at(job.rank), job.cost) for job in shown], len(shown) == depth,
        )  # fmt: skip

    def waits(self, jobs: list[Job]) -> list[float]:
        """How long these jobs waited, the shortest first; those that never began have waited until now."""
        return sorted(self.starts.get(job.id, self.now) - job.arrives for job in jobs)


def percentile(values: list[float], part: float) -> float:
    """The value that this part of a sorted list doesn't pass."""
    return values[min(len(values) - 1, int(part * len(values)))]
