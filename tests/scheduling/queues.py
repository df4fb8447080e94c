"""Queues as fairness sees them, for tests that have no rows."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from app.core import ids
from app.core.ids import JobId, TenantId
from app.jobs.caps import EVERYTHING, Cap
from app.scheduling import fairness
from app.scheduling.fairness import Lane, Line, Plan, Waiting

START = datetime(2026, 1, 1, tzinfo=UTC)
SHARES = {"interactive": 5, "standard": 3, "batch": 2}


def make_tenant() -> TenantId:
    return TenantId(ids.new())


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def jobs(count: int, *, cost: float = 10, head: float = 0) -> list[Waiting]:
    """Jobs a second apart, the first at `head`."""
    return [Waiting(JobId(ids.new()), at(head + n), cost) for n in range(count)]


def line(
    waiting: int | Sequence[Waiting],
    *,
    lane: str = "standard",
    tenant: TenantId | None = None,
    group: int = 0,
    weight: int = 1,
    had: float = 0,
    cost: float = 10,
    head: float = 0,
    most: int = 1_000,
    caps: Mapping[Cap, int] | None = None,
    cut: bool = False,
) -> Line:
    """A line of a tenant, fresh unless given; `most` is its tenant's cap, `caps` are others on top."""
    whose = make_tenant() if tenant is None else tenant
    own: dict[Cap, int] = {(whose, "all", ""): most}
    limits = own | dict(caps or {})
    shown = jobs(waiting, cost=cost, head=head) if isinstance(waiting, int) else waiting
    counted = tuple({EVERYTHING: 0} | dict.fromkeys(limits, 0))
    return Line(lane, whose, group, weight, had, counted, limits, shown, cut)


def one_lane(free: int, *, level: float = 0.0) -> dict[str, Lane]:
    """The lane `standard` with workers of its own."""
    return {"standard": Lane(share=3, level=level, running=0, own=free, free=free, reserve=0)}


def share(
    free: int,
    lines: Sequence[Line],
    *,
    running: Mapping[Cap, int] | None = None,
    level: float = 0.0,
) -> Counter[TenantId]:
    """How many jobs of each tenant go into so many free slots of one lane."""
    made = fairness.plan(free, free, one_lane(free, level=level), lines, dict(running or {}))
    return Counter(line.tenant for line, _ in made.picks)


def after(lines: Sequence[Line], made: Plan) -> list[Line]:
    """The lines once the plan is carried out, with what their tenants have had by then."""
    gone = {job.job for _, job in made.picks}
    return [
        replace(
            line,
            had=made.had.get((line.lane, line.tenant), line.had),
            jobs=[job for job in line.jobs if job.job not in gone],
        )
        for line in lines
    ]
