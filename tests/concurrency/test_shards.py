"""Dispatchers of two shards at once, each on its own connection: what they share is never passed."""

import asyncio
from datetime import timedelta

import psycopg

from app.audit.trail import PLATFORM
from app.core.db import Database
from app.jobs.transitions import Released
from app.scheduling import dispatch, division, shards
from app.scheduling.config import SchedulingConfig
from app.scheduling.shards import Lead
from tests.arrange import make_jobs, make_tenant, make_workflow
from tests.arrange import make_worker as worker
from tests.concurrency.conftest import Connection
from tests.waiting import until

LEASE = timedelta(seconds=60)
CONFIG = SchedulingConfig()
ALONE = ("standard",)
BUCKETS = (10, 90, 130, 250)


def queues(admin: psycopg.Connection, jobs: int) -> None:
    for bucket in BUCKETS:
        tenant = make_tenant(admin, f"t{bucket}", bucket=bucket)
        make_jobs(admin, tenant, make_workflow(admin, tenant), jobs)


def cap(admin: psycopg.Connection, kind: str, name: str, most: int) -> None:
    admin.execute(
        "INSERT INTO cap (owner, kind, name, max_running, reason, set_by, set_at)"
        " VALUES (%s, %s, %s, %s, '', 'test', now())",
        (PLATFORM, kind, name, most),
    )


def active(admin: psycopg.Connection) -> int:
    row = admin.execute(
        "SELECT count(*) FROM job WHERE state IN ('dispatched', 'running')"
    ).fetchone()
    assert row is not None
    return int(row[0])


def end_some(admin: psycopg.Connection, most: int) -> None:
    admin.execute(
        """WITH gone AS (UPDATE attempt SET state = 'ended', ended_at = now(), outcome = 'succeeded'
             WHERE id IN (SELECT id FROM attempt WHERE ended_at IS NULL ORDER BY random() LIMIT %s) RETURNING job)
           UPDATE job SET state = 'succeeded', started_at = now(), finished_at = now(), current_attempt = NULL
            WHERE id IN (SELECT job FROM gone)""",
        (most,),
    )


async def release(connection: Connection, lead: Lead) -> list[Released]:
    done = await dispatch.release(connection, lead, CONFIG, LEASE)
    return [item for groups in done.released.values() for group in groups for item in group]


async def test_a_cap_over_all_shards_is_not_passed_by_two_that_race(
    db: Database, admin: psycopg.Connection
) -> None:
    """The race is arranged: both have planned up to the cap's row, which a third holds."""
    queues(admin, 20)
    cap(admin, "all", "", 7)
    cap(admin, "workflow", "noop", 5)
    worker(admin, 40, ALONE)
    async with (
        await db.connect_hot(settings=dispatch.SETTINGS) as a,
        await db.connect_hot(settings=dispatch.SETTINGS) as b,
        await db.connect_hot(autocommit=False) as third,
    ):
        await shards.lay_out(a, 2, CONFIG)
        leads = [await dispatch.lead(a, 0), await dispatch.lead(b, 1)]
        await division.grant(a, CONFIG)
        await third.execute("SELECT FROM cap WHERE kind = 'all' FOR UPDATE")
        both = [
            asyncio.ensure_future(release(one, lead))
            for one, lead in zip((a, b), leads, strict=True)
        ]

        async def both_wait() -> bool:
            row = admin.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE pid = ANY (%s) AND wait_event_type = 'Lock'",
                ([a.info.backend_pid, b.info.backend_pid],),
            ).fetchone()
            return row is not None and row[0] == 2

        await until(both_wait, what="both dispatchers wait for the cap")
        await third.commit()
        released = await asyncio.gather(*both)
    assert sum(map(len, released)) == 5 == active(admin)


async def test_two_dispatchers_never_pass_caps_or_slots_time_and_again(
    db: Database, admin: psycopg.Connection
) -> None:
    """Passes of both, divisions and ends, all at once: at most as many run as there are slots and places."""
    queues(admin, 60)
    cap(admin, "workflow", "noop", 9)
    worker(admin, 12, ALONE)
    admin.execute("UPDATE worker SET seen_at = now() + interval '1 hour'")  # heard all along
    seen: list[int] = []
    done: list[Released] = []
    async with (
        await db.connect_hot(settings=dispatch.SETTINGS) as a,
        await db.connect_hot(settings=dispatch.SETTINGS) as b,
        await db.connect_hot() as c,
    ):
        await shards.lay_out(a, 2, CONFIG)
        leads = [await dispatch.lead(a, 0), await dispatch.lead(b, 1)]
        for turn in range(25):
            if turn == 12:
                admin.execute("DELETE FROM cap")
            first, second, _ = await asyncio.gather(
                release(a, leads[0]), release(b, leads[1]), division.grant(c, CONFIG)
            )
            done += first + second
            seen.append(active(admin))
            end_some(admin, 4)
    assert max(seen[:12]) <= 9
    assert max(seen) == 12  # every slot is used once the cap is gone, and none twice
    assert len({item.job for item in done}) == len(done)
    assert {item.tenant.bytes[15] for item in done} == set(BUCKETS)
