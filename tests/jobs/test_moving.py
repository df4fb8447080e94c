"""Jobs that wait go to another lane or priority, to the place that admission would have given them."""

import json
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from app.audit.trail import Actor
from app.core import clock, ids
from app.core.db import Database
from app.core.errors import Invalid, NotFound
from app.core.ids import JobId, TenantId
from app.jobs import moving, reads, transitions
from app.jobs.errors import JobNotWaiting
from app.jobs.moving import Place, Which
from tests.arrange import make_jobs, make_tenant, make_workflow

HEAD_START = timedelta(seconds=60)
ACTOR = Actor("operator", "ann")


async def move(db: Database, tenant: TenantId, job: JobId, place: Place) -> None:
    async with db.transaction() as session:
        await moving.move(session, tenant, job, place, head_start=HEAD_START, actor=ACTOR)


async def move_many(db: Database, which: Which, place: Place, most: int = 100) -> moving.Moved:
    return await moving.move_many(
        db, which, place, head_start=HEAD_START, actor=ACTOR, reason="test", most=most
    )


def row(admin: psycopg.Connection, job: JobId) -> dict[str, Any]:
    with admin.cursor(row_factory=psycopg.rows.dict_row) as cursor:
        found = cursor.execute("SELECT * FROM job WHERE id = %s", (job,)).fetchone()
    assert found is not None
    return found


def entries(admin: psycopg.Connection) -> list[dict[str, Any]]:
    rows = admin.execute("SELECT body FROM audit_entry ORDER BY id").fetchall()
    return [json.loads(body) for (body,) in rows]


async def test_a_moved_job_stands_where_admission_would_have_put_it(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    version = make_workflow(admin, tenant)
    [job] = make_jobs(admin, tenant, version)
    when = clock.now() + timedelta(hours=1)
    [later] = make_jobs(admin, tenant, version, state="scheduled", run_at=when, wake_at=when)
    await move(db, tenant, job, Place("batch", 9))
    await move(db, tenant, job, Place("batch", 9))
    await move(db, tenant, later, Place(priority=0))
    one, other = row(admin, job), row(admin, later)
    assert (one["lane"], one["priority"], one["state"]) == ("batch", 9, "queued")
    assert one["rank"] == one["created_at"] - 9 * HEAD_START
    assert (other["lane"], other["priority"]) == ("standard", 0)
    assert other["rank"] == other["run_at"]
    async with db.transaction() as session:
        [_, told] = await reads.events(session, job)
    assert (told.name, told.data) == (
        "job.moved",
        {"lane": "batch", "priority": 9, "from": {"lane": "standard", "priority": 4}},
    )
    assert [(one["action"], one["before"], one["after"]) for one in entries(admin)] == [
        ("job.move", {"lane": "standard", "priority": 4}, {"lane": "batch", "priority": 9}),
        ("job.move", {"lane": "standard", "priority": 4}, {"lane": "standard", "priority": 0}),
    ]


async def test_a_higher_priority_overtakes_ones_own(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    jobs = make_jobs(admin, tenant, make_workflow(admin, tenant), 3)
    await move_many(db, Which(tenant), Place(priority=3))  # all of them by admission's rule
    await move(db, tenant, jobs[2], Place(priority=4))
    async with db.transaction() as session:
        found = [await reads.get(session, tenant, job) for job in jobs]
        assert [await reads.queue_position(session, one) for one in found if one] == [2, 3, 1]


async def test_one_in_quarantine_stays_there_and_comes_back_elsewhere(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    version = make_workflow(admin, tenant)
    [job] = make_jobs(admin, tenant, version, lane="quarantine", home_lane="standard")
    await move(db, tenant, job, Place("batch"))
    found = row(admin, job)
    assert (found["lane"], found["home_lane"]) == ("quarantine", "batch")


@pytest.mark.parametrize(
    ("state", "shown"),
    [("dispatched", "queued"), ("running", "running"), ("cancelled", "cancelled")],
)
async def test_what_does_not_wait_stays_as_it_is(
    state: str, shown: str, db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    columns: dict[str, Any] = {"state": state}
    if state == "cancelled":
        columns["finished_at"] = "now"
    else:
        columns |= {"current_attempt": ids.new(), "started_at": "now"}
    [job] = make_jobs(admin, tenant, make_workflow(admin, tenant), **columns)
    before = row(admin, job)
    with pytest.raises(JobNotWaiting) as refused:
        await move(db, tenant, job, Place("batch"))
    assert refused.value.context == {"status": shown}
    assert await move_many(db, Which(tenant), Place("batch")) == moving.Moved(0, 0, more=False)
    assert row(admin, job) == before
    assert entries(admin) == []


async def test_another_tenants_job_is_not_there(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    other = make_tenant(admin, "other")
    [job] = make_jobs(admin, other, make_workflow(admin, other))
    before = row(admin, job)
    for unknown in (job, JobId(ids.new())):
        with pytest.raises(NotFound):
            await move(db, tenant, unknown, Place("batch"))
    assert row(admin, job) == before


@pytest.mark.parametrize(
    ("which", "moved"),
    [
        ({"tenant": "acme"}, 5),
        ({"workflow": "also"}, 1),
        ({"tag": "night"}, 2),
        ({"lane": "interactive"}, 1),
        ({"status": "waiting"}, 1),
        ({"status": "queued"}, 5),
        ({"tenant": "acme", "tag": "night"}, 1),
        ({"tenant": "acme", "lane": "batch"}, 0),
    ],
)
async def test_many_are_moved_by_a_filter(
    which: dict[str, str], moved: int, db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    other = make_tenant(admin, "other")
    mine, theirs = make_workflow(admin, tenant), make_workflow(admin, other)
    make_jobs(admin, tenant, mine)
    make_jobs(admin, tenant, mine, workflow="also")
    make_jobs(admin, tenant, mine, tags=["night", "x"])
    make_jobs(admin, tenant, mine, lane="interactive")
    make_jobs(admin, tenant, mine, state="waiting", waiting_for="backoff", wake_at="infinity")
    make_jobs(admin, other, theirs, tags=["night"])
    named = {"acme": tenant}
    given = {name: named.get(value, value) for name, value in which.items()}
    done = await move_many(db, Which(**given), Place("batch"))  # type: ignore[arg-type]
    assert done == moving.Moved(moved, 0, more=False)
    count = admin.execute("SELECT count(*) FROM job WHERE lane = 'batch'").fetchone()
    assert count == (moved,)
    told = admin.execute("SELECT count(*) FROM job_event WHERE name = 'job.moved'").fetchone()
    assert told == (moved,)
    assert sum(one["after"]["jobs"] for one in entries(admin)) == moved
    assert {one["after"]["lane"] for one in entries(admin)} <= {"batch"}


async def test_many_go_in_turns_and_each_tenants_trail_tells_of_its_own(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    other = make_tenant(admin, "other")
    make_jobs(admin, tenant, make_workflow(admin, tenant), 3)
    make_jobs(admin, other, make_workflow(admin, other), 2)
    which, place = Which(lane="standard"), Place("interactive", 7)
    assert await move_many(db, which, place, most=4) == moving.Moved(4, 0, more=True)
    assert await move_many(db, which, place, most=4) == moving.Moved(1, 0, more=False)
    assert await move_many(db, which, place, most=4) == moving.Moved(0, 0, more=False)
    jobs = {
        chain: sum(one["after"]["jobs"] for one in entries(admin) if one["chain"] == chain)
        for chain in (ids.wire("ten", tenant), ids.wire("ten", other))
    }
    assert list(jobs.values()) == [3, 2]


@pytest.mark.parametrize(
    ("which", "place"),
    [
        (Which(), Place("batch")),
        (Which(lane="batch"), Place()),
        (Which(lane="batch"), Place("slow")),
        (Which(lane="batch"), Place(priority=10)),
        (Which(status="running"), Place("batch")),
    ],
)
async def test_a_move_of_everything_or_to_nowhere_is_refused(
    which: Which, place: Place, db: Database
) -> None:
    with pytest.raises(Invalid):
        await move_many(db, which, place)


async def test_what_was_released_is_queued_again_in_its_lane_when_it_comes_back(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    [job] = make_jobs(admin, tenant, make_workflow(admin, tenant))
    async with await db.connect_hot() as connection:
        assert len(await transitions.dispatch(connection, [job], HEAD_START)) == 1
    with pytest.raises(JobNotWaiting):
        await move(db, tenant, job, Place("batch"))
    assert row(admin, job)["lane"] == "standard"
