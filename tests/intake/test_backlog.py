"""What waits and what it closes: ceilings of a tenant, lanes shed under pressure, figures that nobody counts twice."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from app.audit.trail import PLATFORM
from app.core import clock
from app.core.db import Database
from app.core.ids import TenantId
from app.intake import admission, backlog, levels
from app.intake.admission import Asker, Desk, JobSpec
from app.intake.backlog import Level
from app.intake.config import IntakeConfig
from app.intake.errors import Overloaded, QueueFull
from app.ratelimit.config import RatelimitConfig
from app.ratelimit.limiter import Limiter
from app.tenants.limits import Ceiling, Limits
from app.views import jobs as views
from tests.arrange import make_jobs, make_tenant, make_workflow

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("waiting", "open_lanes"),
    [
        (0, {"interactive", "standard", "batch"}),
        (79, {"interactive", "standard", "batch"}),
        (80, {"interactive", "standard"}),
        (89, {"interactive", "standard"}),
        (90, {"interactive"}),
        (99, {"interactive"}),
        (100, set()),
    ],
)
def test_the_lowest_lane_is_shed_first(waiting: int, open_lanes: set[str]) -> None:
    config = IntakeConfig(max_queued=100)
    found = backlog.pressure(
        {"batch": Level(waiting - waiting // 2), "standard": Level(waiting // 2)}, config
    )
    assert {lane for lane, at in backlog.SHED_AT.items() if found < at} == open_lanes


def test_an_old_interactive_job_is_pressure_where_a_longest_wait_is_set() -> None:
    late = {"interactive": Level(jobs=1, age_seconds=9.5)}
    assert backlog.pressure(late, IntakeConfig(max_queued=100)) == 0.01
    config = IntakeConfig(max_queued=100, max_wait=timedelta(seconds=10))
    assert backlog.pressure(late, config) == 0.95


@pytest.mark.parametrize(
    ("ceiling", "level", "which"),
    [
        (Ceiling(jobs=5), Level(jobs=3), None),
        (Ceiling(jobs=5), Level(jobs=4), "jobs"),
        (Ceiling(cost_nanousd=1_000), Level(jobs=1, cost_nanousd=800), None),
        (Ceiling(cost_nanousd=1_000), Level(jobs=1, cost_nanousd=900), "cost"),
        (Ceiling(age_seconds=60), Level(jobs=1, age_seconds=60), None),
        (Ceiling(age_seconds=60), Level(jobs=1, age_seconds=61), "age"),
        (Ceiling(jobs=0), Level(), "jobs"),
    ],
)
def test_a_ceiling_counts_what_waits_and_what_came_since(
    ceiling: Ceiling, level: Level, which: str | None
) -> None:
    if which is None:
        backlog.check(ceiling, level, 1, 100, "batch")
        return
    with pytest.raises(QueueFull) as refused:
        backlog.check(ceiling, level, 1, 100, "batch")
    assert (refused.value.context["lane"], refused.value.context["ceiling"]) == ("batch", which)


def test_when_to_come_back_follows_from_the_pace() -> None:
    level = Level(jobs=100, cost_nanousd=100_000, pace_nanousd=20_000)
    with pytest.raises(QueueFull) as refused:
        backlog.check(Ceiling(jobs=91), level, 0, 0, "batch")
    assert refused.value.context["retry_after"] == 30  # ten jobs of 1,000 at 20,000 a minute
    assert backlog.wait_seconds(10, level) == 30
    assert backlog.wait_seconds(10, replace(level, pace_nanousd=0)) is None


async def level_of(db: Database, tenant: TenantId, lane: str) -> Level:
    async with db.transaction() as session:
        return await backlog.level(session, tenant, lane)


async def test_every_queued_job_is_counted_once_whatever_the_page(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    other = make_tenant(admin, "other")
    mine, theirs = make_workflow(admin, tenant), make_workflow(admin, other)
    hour_ago = clock.now() - timedelta(hours=1)
    make_jobs(admin, tenant, mine, 7)
    make_jobs(admin, tenant, mine, 3, lane="batch", predicted_nanousd=5, queued_at=hour_ago)
    make_jobs(admin, other, theirs, 4, rank=EPOCH)
    make_jobs(admin, other, theirs, 1, state="scheduled", wake_at=clock.now(), queued_at=None)
    async with await db.connect_hot() as connection:
        for page in (1, 2, 3, 5, 100):
            await levels.count(connection, page)
            found = [
                (one.jobs, one.cost_nanousd)
                for one in [
                    await level_of(db, whose, lane)
                    for whose, lane in (
                        (tenant, "standard"), (tenant, "batch"), (other, "standard"),
                        (PLATFORM, "standard"), (PLATFORM, "batch"), (PLATFORM, "interactive"),
                    )
                ]
            ]  # fmt: skip
            assert found == [(7, 7_000), (3, 15), (4, 4_000), (11, 11_000), (3, 15), (0, 0)]
        assert 3_590 < (await level_of(db, tenant, "batch")).age_seconds < 3_700
        admin.execute("UPDATE job SET state = 'cancelled', finished_at = app_now()")
        await levels.count(connection)
    assert (await level_of(db, tenant, "batch")).counted_at is None
    assert (await level_of(db, PLATFORM, "batch")).jobs == 0


async def test_the_pace_is_what_was_released_lately(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    make_jobs(admin, tenant, make_workflow(admin, tenant), 4)
    admin.execute(
        "INSERT INTO released (tenant, lane, minute, cost_nanousd)"
        " SELECT %s, 'standard', date_trunc('minute', app_now()) - interval '1 minute', 60000",
        (tenant,),
    )
    async with await db.connect_hot() as connection:
        await levels.count(connection)
    level = await level_of(db, tenant, "standard")
    assert 30_000 <= level.pace_nanousd <= 60_000  # over the last one to two minutes
    async with db.transaction() as session:
        (job,) = admin.execute("SELECT id FROM job ORDER BY rank DESC LIMIT 1").fetchall()[0]
        view = await views.get(session, tenant, job)
    assert view.queue_position == 4
    assert view.estimated_start_at is not None
    wait = (view.estimated_start_at - clock.now()).total_seconds()
    assert 3 < wait <= 8


@pytest.fixture
async def tight(db: Database, desk: Desk) -> AsyncIterator[Desk]:
    """A desk of a platform that can carry ten jobs."""
    opened = admission.open_desk(
        db, IntakeConfig(max_queued=10), [], Limiter(None, RatelimitConfig())
    )
    yield opened
    await opened.close()


def set_level(admin: psycopg.Connection, tenant: TenantId, lane: str, jobs: int) -> None:
    admin.execute(
        "INSERT INTO queue_level (tenant, lane, jobs, cost_nanousd, pace_nanousd, counted_at)"
        " VALUES (%s, %s, %s, %s, 0, app_now())",
        (tenant, lane, jobs, jobs),
    )


async def test_a_full_platform_refuses_by_lane_and_stores_nothing(
    tight: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    set_level(admin, PLATFORM, "batch", 9)
    made = await admission.admit(tight, asker, JobSpec("noop", {}, lane="interactive"), key=None)
    assert made.outcome == "created"
    for lane in ("batch", "standard"):
        with pytest.raises(Overloaded):
            await admission.admit(tight, asker, JobSpec("noop", {}, lane=lane), key="again")
    await tight.shed()
    assert admin.execute("SELECT count(*) FROM job").fetchone() == (1,)
    assert admin.execute("SELECT count(*) FROM idempotency_record").fetchone() == (0,)


async def test_a_tenants_ceiling_holds_before_anything_is_counted(
    desk: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    """Ten at once, three may wait; what was refused for another reason takes no room."""
    capped = replace(asker, limits=Limits((), {"standard": Ceiling(jobs=3)}))
    unfit = [
        (await admission.admit_many(desk, capped, [(JobSpec("nowhere", {}), None)]))[0]
        for _ in range(5)
    ]
    ended = await admission.admit_many(desk, capped, [(JobSpec("noop", {}), None)] * 10)
    assert {type(one).__name__ for one in unfit} == {"UnknownWorkflow"}
    assert [type(one).__name__ for one in ended] == ["Admitted"] * 3 + ["QueueFull"] * 7
    beside = await admission.admit(desk, capped, JobSpec("noop", {}, lane="batch"), key=None)
    assert beside.outcome == "created"


async def test_a_new_count_replaces_what_was_let_in_since_the_last(
    desk: Desk, asker: Asker, admin: psycopg.Connection, db: Database
) -> None:
    capped = replace(asker, limits=Limits((), {"standard": Ceiling(jobs=2)}))
    spec = JobSpec("noop", {})
    fresh = replace(desk, backlog=backlog.Backlog(db, IntakeConfig(known_for=timedelta(0))))
    async with await db.connect_hot() as connection:
        await levels.count(connection)
        ended = await admission.admit_many(fresh, capped, [(spec, None)] * 3)
        assert [type(one).__name__ for one in ended] == ["Admitted"] * 2 + ["QueueFull"]
        await levels.count(connection)
        with pytest.raises(QueueFull):
            await admission.admit(fresh, capped, spec, key=None)
        admin.execute("UPDATE job SET state = 'cancelled', finished_at = app_now()")
        await levels.count(connection)
        assert (await admission.admit(fresh, capped, spec, key=None)).outcome == "created"
    await fresh.backlog.close()
