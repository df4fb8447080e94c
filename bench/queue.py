"""A long queue, made in SQL of one job that was admitted; and passes of the dispatcher over it, timed."""

import statistics
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import psycopg

from app.core import ids
from app.core.db import connect
from app.core.groupcommit import SETTINGS as GROUPED
from app.core.ids import WorkerId
from app.jobs import endings, transitions
from app.jobs.transitions import End
from app.scheduling import dispatch
from app.scheduling.config import SchedulingConfig
from app.scheduling.shards import Lead

BATCH: Final = 100
LEASE: Final = timedelta(minutes=10)
PIECE: Final = 50_000  # rows a statement

Connection = psycopg.AsyncConnection[Any]


@dataclass(slots=True)
class Rates:
    """Jobs a second that each statement of the hot path moves, by the median of its times."""

    dispatched: float
    claimed: float
    finished: float


async def copy_jobs(admin: Connection, count: int) -> None:
    """So many queued copies of the oldest queued job."""
    columns = await _columns(admin, "job")
    others = ", ".join(name for name in columns if name not in ("id", "rank"))
    for first in range(0, count, PIECE):
        await admin.execute(
            f"""INSERT INTO job (id, rank, {others})
                SELECT uuidv7(), rank + n * interval '1 us', {others}
                  FROM (SELECT * FROM job WHERE state = 'queued' ORDER BY id LIMIT 1) AS model,
                       generate_series(%s::int, %s::int) AS n""",  # noqa: S608 - the columns are the schema's
            (first + 1, min(first + PIECE, count)),
        )
    # What a burst in SQL leaves behind, dirty pages and a vacuum that is due, is not the queue that is measured.
    await admin.execute("VACUUM (ANALYZE) job")
    await admin.execute("CHECKPOINT")


async def _columns(admin: Connection, table: str) -> list[str]:
    query = (
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
        " AND NOT attisdropped AND attgenerated = '' ORDER BY attnum"
    )
    return [row[0] for row in await (await admin.execute(query, (table,))).fetchall()]


async def queued(admin: Connection) -> int:
    """How many jobs are queued."""
    row = await (await admin.execute("SELECT count(*) FROM job WHERE state = 'queued'")).fetchone()
    assert row is not None  # noqa: S101 - a count gives a row
    return int(row[0])


async def passes(url: str, worker: WorkerId, count: int) -> Rates:
    """Release, claim and finish `count` batches; what ended stays, as it would."""
    times: dict[str, list[float]] = {"dispatched": [], "claimed": [], "finished": []}
    config = SchedulingConfig(batch=BATCH)
    async with (
        await connect(url, settings=dispatch.SETTINGS) as hot,
        await connect(url, settings=GROUPED) as group,
    ):
        lead = await dispatch.lead(hot)
        for _ in range(count):
            await _one(hot, group, lead, config, worker, times)
    return Rates(**{name: BATCH / statistics.median(taken) for name, taken in times.items()})


async def _one(
    hot: Connection,
    group: Connection,
    lead: Lead,
    config: SchedulingConfig,
    worker: WorkerId,
    times: dict[str, list[float]],
) -> None:
    began = time.perf_counter()
    done = await dispatch.release(hot, lead, config, LEASE)
    times["dispatched"].append(time.perf_counter() - began)
    items = [item for groups in done.released.values() for one in groups for item in one]
    pairs = [(item.job, item.attempt) for item in items]
    began = time.perf_counter()
    await transitions.claim(group, pairs, worker=worker, lease=LEASE)
    times["claimed"].append(time.perf_counter() - began)
    ends = [End(item.job, item.attempt, "noop", {}, endings.succeeded({})) for item in items]
    began = time.perf_counter()
    await transitions.end(group, ends)
    times["finished"].append(time.perf_counter() - began)


async def make_worker(admin: Connection, slots: int) -> WorkerId:
    """A worker that counts as heard for the next day."""
    worker = WorkerId(ids.new())
    await admin.execute(
        "INSERT INTO worker (id, host, pid, lanes, slots, started_at, seen_at, heard_at)"
        " VALUES (%s, 'bench', 1, %s, %s, now(), now() + interval '1 day', now())",
        (worker, ["standard"], slots),
    )
    return worker


async def copy_old(admin: Connection, count: int) -> None:
    """So many jobs that ended a year ago, copies of the oldest queued one, with what jobs leave behind."""
    columns = await _columns(admin, "job")
    changed = ("id", "state", "started_at", "finished_at")
    others = ", ".join(name for name in columns if name not in changed)
    for first in range(0, count, PIECE):
        await admin.execute(
            f"""WITH made AS (
                  INSERT INTO job (id, state, started_at, finished_at, {others})
                  SELECT uuidv7(interval '-1 year'), 'succeeded', now() - interval '1 year',
                         now() - interval '1 year', {others}
                    FROM (SELECT * FROM job WHERE state = 'queued' ORDER BY id LIMIT 1) AS model,
                         generate_series(1, %s::int)
                  RETURNING id, tenant),
                events AS (
                  INSERT INTO job_event (job, seq, tenant, at, name, data)
                  SELECT id, seq, tenant, now(), 'job.queued', '{{}}' FROM made, generate_series(1, 4) AS seq),
                tried AS (
                  INSERT INTO attempt (id, tenant, job, run, number, state, outcome, lease_until, dispatched_at, ended_at)
                  SELECT uuidv7(), tenant, id, 1, 1, 'ended', 'succeeded', now(), now(), now() FROM made
                  RETURNING id, job, tenant)
                INSERT INTO step (id, tenant, job, attempt, name, item, kind, state, result, facts, started_at, finished_at)
                SELECT uuidv7(), tenant, job, id, 'echo', 0, 'transform', 'succeeded', '{{"n": 0}}', '{{}}', now(), now()
                  FROM tried""",  # noqa: S608 - the columns are the schema's
            (min(PIECE, count - first),),
        )
