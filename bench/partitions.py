"""What partitions would give and cost: events and a queue's index, whole and in twelve ranges of their ids.

Decision record 0017 rests on it. Tables of their own, with the columns and keys that matter, no rooms' code.
"""

import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

import psycopg

from bench.ground import console, ground

JOBS: Final = 250_000
EVENTS: Final = 4  # of each job
PARTS: Final = 12
TENANTS: Final = 1_000
BATCH: Final = 200
TIMES: Final = 40

Connection = psycopg.AsyncConnection[Any]

# Twelve months of jobs: uuidv7(interval) gives an id of that time.
FILL: Final = """
INSERT INTO {name}_event (job, seq, tenant, at, name, data)
SELECT job, seq, tenant, now(), 'job.dispatched', '{{"attempt": 1}}' FROM made, generate_series(1, %s) AS seq
"""
EVENT: Final = """
CREATE TABLE {name}_event (job uuid, seq bigint, tenant uuid NOT NULL, at timestamptz NOT NULL, name text NOT NULL,
  attempt uuid, data jsonb NOT NULL, PRIMARY KEY (job, seq)) {how}
"""
QUEUE: Final = """
CREATE TABLE {name}_queue (id uuid PRIMARY KEY, lane text NOT NULL, bucket smallint NOT NULL, tenant uuid NOT NULL,
  cap_group bigint NOT NULL, rank timestamptz NOT NULL, state text NOT NULL) {how}
"""
WALK: Final = """
WITH RECURSIVE walk AS (
    (SELECT bucket, tenant, cap_group FROM {name}_queue WHERE state = 'queued' AND lane = 'standard'
      ORDER BY bucket, tenant, cap_group LIMIT 1)
    UNION ALL
    SELECT following.* FROM walk CROSS JOIN LATERAL (
        SELECT bucket, tenant, cap_group FROM {name}_queue
         WHERE state = 'queued' AND lane = 'standard'
           AND (bucket, tenant, cap_group) > (walk.bucket, walk.tenant, walk.cap_group)
         ORDER BY bucket, tenant, cap_group LIMIT 1) AS following)
SELECT count(*) FROM walk
"""


async def run() -> dict[str, Any]:
    """Fields: milliseconds of each act on the whole table, and on the one in ranges."""
    figures: dict[str, Any] = {}
    async with ground(start=()) as stack:
        admin = await psycopg.AsyncConnection.connect(stack.superuser_url, autocommit=True)
        async with admin:
            await _make(admin)
            for name in ("whole", "ranges"):
                console.print(f"{JOBS * EVENTS:,} events, {name}")
                await _tables(admin, name)
                figures |= {
                    f"{key}_{name}": value for key, value in (await _of(admin, name)).items()
                }
    return figures


async def _make(admin: Connection) -> None:
    await admin.execute(
        "CREATE TABLE tenants AS SELECT n, gen_random_uuid() AS tenant FROM generate_series(0, %s::int - 1) AS n",
        (TENANTS,),
    )
    await admin.execute(
        "CREATE TABLE made AS SELECT uuidv7(g * interval '1 year' / %s::int - interval '1 year') AS job, tenant"
        "  FROM generate_series(1, %s::int) AS g JOIN tenants ON tenants.n = g %% %s::int",
        (JOBS, JOBS, TENANTS),
    )


async def _tables(admin: Connection, name: str) -> None:
    how = "PARTITION BY RANGE (job)" if name == "ranges" else ""
    await admin.execute(EVENT.format(name=name, how=how))
    await admin.execute(QUEUE.format(name=name, how=how.replace("job", "id")))
    if name == "ranges":
        for kind in ("event", "queue"):
            await _ranges(admin, f"ranges_{kind}")
    await admin.execute(
        f"CREATE INDEX ON {name}_queue (lane, bucket, tenant, cap_group, rank, id) WHERE state = 'queued'"
    )
    await admin.execute(FILL.format(name=name), (EVENTS,))
    await admin.execute(
        f"INSERT INTO {name}_queue SELECT job, 'standard', get_byte(uuid_send(tenant), 15), tenant, 7, now(), 'queued'"  # noqa: S608
        " FROM made"
    )
    await admin.execute(f"VACUUM ANALYZE {name}_event, {name}_queue")


async def _ranges(admin: Connection, table: str) -> None:
    """Twelve months; the last also takes what is made meanwhile."""
    bounds = ["'00000000-0000-0000-0000-000000000000'"]
    for month in range(1, PARTS):
        row = await (
            await admin.execute(
                "SELECT uuidv7(%s::int * interval '1 year' / %s::int - interval '1 year')::text",
                (month, PARTS),
            )
        ).fetchone()
        assert row is not None  # noqa: S101 - a SELECT without FROM gives a row
        bounds.append(f"'{row[0]}'")
    bounds.append("MAXVALUE")
    for place in range(PARTS):
        await admin.execute(
            f"CREATE TABLE {table}_{place} PARTITION OF {table}"
            f" FOR VALUES FROM ({bounds[place]}) TO ({bounds[place + 1]})"
        )


async def _of(admin: Connection, name: str) -> dict[str, float]:
    async def insert() -> None:
        await admin.execute(
            f"INSERT INTO {name}_event SELECT uuidv7(), 1, uuidv7(), now(), 'job.queued', NULL, '{{}}'"  # noqa: S608
            f" FROM generate_series(1, {BATCH})"
        )

    async def read() -> None:
        await admin.execute(
            f"SELECT * FROM {name}_event WHERE job = (SELECT job FROM made OFFSET 1000 LIMIT 1) ORDER BY seq"  # noqa: S608
        )

    oldest = [
        row[0]
        for row in await (await admin.execute("SELECT job FROM made ORDER BY job")).fetchall()
    ]
    places = iter(range(0, len(oldest), BATCH))

    async def delete() -> None:
        first = next(places)
        await admin.execute(
            f"DELETE FROM {name}_event WHERE job = ANY (%s)",  # noqa: S608
            (oldest[first : first + BATCH],),
        )

    async def walk() -> None:
        await admin.execute(WALK.format(name=name))

    await admin.execute("SET enable_seqscan = off")
    told = {
        "insert_200_ms": await _timed(insert, TIMES),
        "read_a_job_ms": await _timed(read, TIMES),
        "walk_1000_tenants_ms": await _timed(walk, 5),
        "delete_200_jobs_ms": await _timed(delete, TIMES),
    }
    if name == "ranges":

        async def drop() -> None:
            await admin.execute("ALTER TABLE ranges_event DETACH PARTITION ranges_event_3")
            await admin.execute("DROP TABLE ranges_event_3")

        told["drop_a_month_ms"] = await _timed(drop, 1)
    await admin.execute("RESET enable_seqscan")
    return told


async def _timed(act: Callable[[], Awaitable[None]], times: int) -> float:
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        await act()
        taken.append(time.perf_counter() - began)
    return round(1000 * statistics.median(taken), 3)
