"""One pass of the dispatcher: free slots, fair shares, jobs released. What to publish is the answer."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg

from app.core import statements
from app.core.ids import TenantId
from app.jobs import endings, transitions
from app.jobs.transitions import End, Released
from app.scheduling import fairness
from app.scheduling.config import SchedulingConfig
from app.scheduling.errors import NotLeading

_LEAD = statements.load(__file__, "lead")
_LEADING = statements.load(__file__, "leading")
_SLOTS = statements.load(__file__, "slots")
_BUSY = statements.load(__file__, "busy")
_WAITING = statements.load(__file__, "waiting")
_REMEMBER = statements.load(__file__, "remember")
_TIDY = statements.load(__file__, "tidy")

Connection = psycopg.AsyncConnection[Any]
# Statistics lag behind a burst: every path of the dispatcher is an index.
SETTINGS = {"plan_cache_mode": "force_custom_plan", "enable_seqscan": "off"}


@dataclass(frozen=True, slots=True)
class Pass:
    """What one pass released, by lane, and whether it filled its batch: then there may be more."""

    released: dict[str, list[Released]]
    more: bool


async def lead(connection: Connection) -> int:
    """Take the lead. Gives the epoch to pass to `release`."""
    row = await (await connection.execute(_LEAD.raw)).fetchone()
    assert row is not None  # noqa: S101 - the first migration made the row
    return int(row.epoch)


async def release(
    connection: Connection, epoch: int, config: SchedulingConfig, lease: timedelta
) -> Pass:
    """Release jobs into free slots, fairly, under every cap. One transaction. Raises NotLeading."""
    async with connection.transaction():
        if await (await connection.execute(_LEADING.raw, {"epoch": epoch})).fetchone() is None:
            raise NotLeading("Another dispatcher leads.")
        workers = await _rows(connection, _SLOTS.raw, {"silence": config.worker_silence})
        if not workers:
            return Pass({}, more=False)
        bind = {"batch": config.batch, "half_life": config.half_life}
        waiting = await _rows(connection, _WAITING.raw, bind)
        if not waiting:
            return Pass({}, more=False)
        busy = await _rows(connection, _BUSY.raw, None)
        plan = _share(workers, waiting, busy, config)
        released = {}
        for lane, counts in plan.items():
            released[lane] = await transitions.dispatch(connection, lane, counts, lease)
            await _remember(connection, lane, released[lane])
    total = sum(len(items) for items in released.values())
    return Pass(released, more=total >= config.batch)


async def _rows(connection: Connection, statement: str, bind: dict[str, Any] | None) -> list[Any]:
    return await (await connection.execute(statement, bind)).fetchall()


def _share(
    workers: Sequence[Any], waiting: Sequence[Any], busy: Sequence[Any], config: SchedulingConfig
) -> dict[str, dict[TenantId, int]]:
    unclaimed = sum(row.unclaimed for row in busy)
    free = sum(max(0, worker.free) for worker in workers) - unclaimed
    free_in = {
        lane: sum(max(0, worker.free) for worker in workers if lane in worker.lanes)
        - sum(row.unclaimed for row in busy if row.lane == lane)
        for lane in config.lanes
    }
    running_in: dict[str, int] = defaultdict(int)
    running: dict[TenantId, int] = defaultdict(int)
    had: dict[TenantId, float] = defaultdict(float)
    for row in busy:
        running_in[row.lane] += row.running
        running[row.tenant] += row.running
        had[row.tenant] += float(row.cost_nanousd)
    waiting_in: dict[str, int] = defaultdict(int)
    for row in waiting:
        waiting_in[row.lane] += row.waiting
    slots = fairness.lanes(min(free, config.batch), free_in, waiting_in, running_in, config.lanes)
    plan: dict[str, dict[TenantId, int]] = {}
    for lane, count in slots.items():
        loads = [
            fairness.Load(
                row.tenant, row.waiting, running[row.tenant], row.cap, row.weight,
                had[row.tenant] + row.lately_nanousd, row.next_nanousd, row.head,
            )
            for row in waiting
            if row.lane == lane
        ]  # fmt: skip
        plan[lane] = fairness.share(count, loads)
        for load in loads:  # a cap spans the lanes
            given = plan[lane].get(load.tenant, 0)
            running[load.tenant] += given
            had[load.tenant] += given * load.next_nanousd
    return {lane: counts for lane, counts in plan.items() if counts}


async def _remember(connection: Connection, lane: str, released: Sequence[Released]) -> None:
    costs: dict[TenantId, int] = defaultdict(int)
    for item in released:
        costs[item.tenant] += item.predicted_nanousd
    if costs:
        bind = {"lane": lane, "tenants": list(costs), "costs": list(costs.values())}
        await connection.execute(_REMEMBER.raw, bind)


async def unpublish(connection: Connection, items: Sequence[Released]) -> None:
    """Return what the broker did not take to the queue, at no cost to the jobs."""
    ends = [
        End(item.job, item.attempt, "", {}, endings.unpublished(), from_state="dispatched")
        for item in items
    ]
    await transitions.end(connection, ends)


async def tidy(connection: Connection) -> None:
    """Delete fairness's old buckets and the rows of workers long gone."""
    await connection.execute(_TIDY.raw)
