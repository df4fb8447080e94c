"""The migration that puts events into ranges: nothing is lost, and everything goes on."""

from datetime import timedelta

import psycopg

from app.core.db import Database
from app.core.ids import TenantId
from app.retention import purge
from app.retention.config import RetentionConfig
from app.retention.purge import Purge
from app.scheduling import dispatch
from app.scheduling.config import SchedulingConfig
from migrations import ranges
from tests.arrange import make_jobs, make_worker, make_workflow
from tests.conftest import with_database


def places(admin: psycopg.Connection) -> dict[str, int]:
    query = "SELECT tableoid::regclass::text, count(*) FROM job_event GROUP BY 1"
    return dict(admin.execute(query).fetchall())


async def test_events_go_into_ranges_without_a_copy_and_dispatch_and_purge_go_on(
    db: Database, admin: psycopg.Connection, superuser_url: str, tenant: TenantId
) -> None:
    version = make_workflow(admin, tenant)
    make_jobs(admin, tenant, version, 3)
    owner = with_database(superuser_url, admin.info.dbname, "towpath_owner")
    assert ranges.split(owner, 2)
    assert not ranges.split(owner, 2)
    assert places(admin) == {"job_event_past": 3}
    make_worker(admin, 10, ("standard",))
    async with await db.connect_hot(settings=dispatch.SETTINGS) as hot:
        lead = await dispatch.lead(hot)
        await dispatch.release(hot, lead, SchedulingConfig(), timedelta(seconds=5))
    assert places(admin) == {"job_event_past": 6}
    with admin.transaction():  # an event of a job to come, whose row isn't there
        admin.execute("SET LOCAL session_replication_role = replica")
        admin.execute(
            "INSERT INTO job_event (job, seq, tenant, at, name, data)"
            " VALUES (uuidv7(interval '1 month'), 1, %s, now(), 'job.queued', '{}')",
            (tenant,),
        )
    [to_come] = places(admin).keys() - {"job_event_past"}
    assert to_come in ("job_event_1", "job_event_2")
    admin.execute("UPDATE attempt SET state = 'ended', ended_at = now(), outcome = 'cancelled'")
    admin.execute(
        "UPDATE job SET state = 'cancelled', current_attempt = NULL, finished_at = now() - interval '91 days'"
    )
    async with await db.connect_hot(settings=purge.SETTINGS) as later:
        await later.execute("SELECT set_config('towpath.clock_offset', '1 day', false)")
        config = RetentionConfig(contents=None, history=timedelta(0))
        assert not any([more async for more in Purge(db, later, config).round()])
    assert places(admin) == {to_come: 1}
