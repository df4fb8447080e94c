"""Why a job is not running: each cause from real rows, what holds it up now first."""

from typing import Any

import psycopg
import pytest

from app.audit.trail import PLATFORM, Actor
from app.core import ids
from app.core.db import Database
from app.core.errors import NotFound
from app.core.ids import JobId, TenantId, VersionId
from app.scheduling import shards
from app.scheduling.config import SchedulingConfig
from app.switches import levers, pauses
from app.switches.pauses import Scope
from app.views import jobs as views
from app.views import why
from app.views.why import Reason
from tests.arrange import make_jobs, make_tenant, make_worker, make_workflow

ACTOR = Actor("operator", "ann")
CONFIG = SchedulingConfig()


@pytest.fixture
def version(admin: psycopg.Connection, tenant: TenantId) -> VersionId:
    return make_workflow(admin, tenant)


@pytest.fixture
def leading(superuser_url: str) -> Any:
    """A dispatcher holds its shard's lock, and a worker with room is there."""
    with psycopg.connect(superuser_url, autocommit=True) as held:
        held.execute("SELECT pg_advisory_lock(%s, 0)", (shards.LOCK_FAMILY,))
        make_worker(held, 5, ("standard",))
        yield held


async def reasons(db: Database, tenant: TenantId, job: JobId) -> list[Reason]:
    async with db.transaction() as session:
        found = await why.why(session, tenant, job, CONFIG)
    return list(found.reasons)


async def codes(db: Database, tenant: TenantId, job: JobId) -> list[str]:
    return [one.code for one in await reasons(db, tenant, job)]


def busy(admin: psycopg.Connection, tenant: TenantId, version: VersionId, count: int = 1,
         **columns: Any) -> None:  # fmt: skip
    for _ in range(count):
        attempt = ids.new()
        [job] = make_jobs(
            admin, tenant, version, state="running", current_attempt=attempt, started_at="now",
            **columns,
        )  # fmt: skip
        admin.execute(
            """INSERT INTO attempt (id, tenant, job, run, number, state, worker, claimed_at, lease_until, dispatched_at)
               SELECT %s, tenant, id, 1, 1, 'running', (SELECT id FROM worker LIMIT 1), now(), now(), now()
                 FROM job WHERE id = %s AND EXISTS (SELECT FROM worker)""",
            (attempt, job),
        )


async def test_a_job_whose_turn_has_not_come_says_its_place(
    db: Database, admin: psycopg.Connection, tenant: TenantId, version: VersionId, leading: Any
) -> None:
    jobs = make_jobs(admin, tenant, version, 3)
    [turn] = await reasons(db, tenant, jobs[2])
    async with db.transaction() as session:
        shown = await views.get(session, tenant, jobs[2])
    assert (turn.code, turn.facts["position"]) == ("turn", 3)
    assert shown.queue_position == 3
    assert turn.facts["estimated_start_at"] == shown.estimated_start_at


@pytest.mark.parametrize(
    ("scope", "shown"),
    [
        (pauses.of_tenant, ("tenant", None, "tenant")),
        (lambda _: pauses.of_lane("standard"), ("lane", "standard", "platform")),
        (lambda tenant: pauses.of_lane("standard", tenant), ("lane", "standard", "tenant")),
        (lambda _: pauses.of_workflow("noop"), ("workflow", "noop", "platform")),
    ],
)
async def test_a_paused_job_says_what_is_paused_by_whom_and_why(
    scope: Any, shown: tuple[str, str | None, str], db: Database, admin: psycopg.Connection,
    tenant: TenantId, version: VersionId, leading: Any,
) -> None:  # fmt: skip
    [job] = make_jobs(admin, tenant, version)
    other = make_tenant(admin, "other")
    async with db.transaction() as session:
        held: Scope = scope(tenant)
        await pauses.pause(session, held, actor=ACTOR, reason="storm")
        for foreign in (pauses.of_tenant(other), pauses.of_lane("batch")):
            await pauses.pause(session, foreign, actor=ACTOR, reason="not of this one")
    [first, last] = await reasons(db, tenant, job)
    assert (first.code, last.code) == ("paused", "turn")
    assert tuple(first.facts["scope"].values()) == shown
    assert (first.facts["by"], first.facts["since"] is None) == ("ann", False)
    assert "storm" in first.detail


async def test_a_suspended_tenants_job_says_so_first(
    db: Database, admin: psycopg.Connection, tenant: TenantId, version: VersionId, leading: Any
) -> None:
    [job] = make_jobs(admin, tenant, version)
    admin.execute("UPDATE tenant SET state = 'suspended'")
    assert await codes(db, tenant, job) == ["tenant_suspended", "turn"]


async def test_a_cap_that_is_reached_says_how_many_run(
    db: Database, admin: psycopg.Connection, tenant: TenantId, version: VersionId, leading: Any
) -> None:
    limits = {"resource:crm-api": 1}
    [job] = make_jobs(admin, tenant, version, limits=limits)
    [free] = make_jobs(admin, tenant, version)
    busy(admin, tenant, version, limits=limits)
    [cap, _] = await reasons(db, tenant, job)
    assert (cap.code, cap.facts) == (
        "cap",
        {"scope": {"kind": "resource", "name": "crm-api", "of": "tenant"}, "max": 1, "running": 1},
    )
    assert await codes(db, tenant, free) == ["turn"]
    admin.execute("UPDATE tenant SET max_running = 1")
    [mine, _] = await reasons(db, tenant, free)
    assert (mine.facts["scope"]["kind"], mine.facts["max"]) == ("all", 1)


async def test_a_cap_over_all_tenants_says_neither_name_nor_figures(
    db: Database, admin: psycopg.Connection, tenant: TenantId, version: VersionId, leading: Any
) -> None:
    other = make_tenant(admin, "other")
    busy(admin, other, make_workflow(admin, other), 2)
    [job] = make_jobs(admin, tenant, version)
    admin.execute(
        "INSERT INTO cap (owner, kind, name, max_running, reason, set_by, set_at)"
        " VALUES (%s, 'workflow', 'noop', 2, 'secret', 'test', now())",
        (PLATFORM,),
    )
    [cap, _] = await reasons(db, tenant, job)
    assert (cap.code, cap.facts) == (
        "cap", {"scope": {"kind": "workflow", "name": None, "of": "platform"}},
    )  # fmt: skip
    assert not {"2", "secret", "other", "noop"} & set(cap.detail.split())


async def test_without_a_worker_or_a_dispatcher_it_says_so(
    db: Database, admin: psycopg.Connection, tenant: TenantId, version: VersionId
) -> None:
    [job] = make_jobs(admin, tenant, version)
    assert await codes(db, tenant, job) == ["no_workers", "dispatcher", "turn"]
    make_worker(admin, 5, ("batch",))
    assert (await codes(db, tenant, job))[0] == "no_workers"
    mine = make_worker(admin, 5, ("standard",))
    assert await codes(db, tenant, job) == ["dispatcher", "turn"]
    async with db.transaction() as session:
        await pauses.drain(session, pauses.of_worker(mine), actor=ACTOR, reason="x")
    assert (await codes(db, tenant, job))[0] == "no_workers"


async def test_a_lane_whose_slots_are_taken_says_so(
    db: Database, admin: psycopg.Connection, tenant: TenantId, version: VersionId, leading: Any
) -> None:
    [job] = make_jobs(admin, tenant, version)
    busy(admin, tenant, version, 4)
    assert await codes(db, tenant, job) == ["turn"]
    busy(admin, tenant, version)
    assert await codes(db, tenant, job) == ["lane_full", "turn"]


async def test_a_lane_that_has_its_share_may_not_take_the_reserve(
    db: Database, admin: psycopg.Connection, tenant: TenantId, version: VersionId, leading: Any
) -> None:
    admin.execute("UPDATE worker SET slots = 10, lanes = '{interactive,standard,batch}'")
    [job] = make_jobs(admin, tenant, version)
    busy(admin, tenant, version, 9)
    assert await codes(db, tenant, job) == ["lane_full", "turn"]


async def test_one_in_quarantine_says_so(
    db: Database, admin: psycopg.Connection, tenant: TenantId, version: VersionId, leading: Any
) -> None:
    [job] = make_jobs(admin, tenant, version, lane="quarantine", home_lane="standard")
    assert await codes(db, tenant, job) == ["quarantine", "no_workers", "turn"]


async def test_a_scheduled_job_says_when_and_that_its_lane_is_paused(
    db: Database, admin: psycopg.Connection, tenant: TenantId, version: VersionId
) -> None:
    [job] = make_jobs(
        admin, tenant, version, state="scheduled", run_at="2999-01-01", wake_at="2999-01-01",
        queued_at=None,
    )  # fmt: skip
    async with db.transaction() as session:
        await pauses.pause(session, pauses.of_tenant(tenant), actor=ACTOR, reason="storm")
    [first, second] = await reasons(db, tenant, job)
    assert (first.code, first.facts["until"].year, second.code) == ("scheduled", 2999, "paused")


async def test_a_job_that_backs_off_says_until_when_and_names_the_switch(
    db: Database, admin: psycopg.Connection, tenant: TenantId, version: VersionId
) -> None:
    [job] = make_jobs(
        admin, tenant, version, state="waiting", waiting_for="backoff", wake_at="2999-01-01"
    )
    [only] = await reasons(db, tenant, job)
    assert (only.code, only.facts["until"].year) == ("backoff", 2999)
    async with db.transaction() as session:
        await levers.turn_off(session, "model_calls", actor=ACTOR, reason="outage")
    assert await codes(db, tenant, job) == ["disabled", "backoff"]


async def test_a_job_without_money_says_what_it_needs_and_what_is_free(
    db: Database, admin: psycopg.Connection, tenant: TenantId, version: VersionId
) -> None:
    [job] = make_jobs(
        admin, tenant, version, state="waiting", waiting_for="budget", need_nanousd=40
    )
    admin.execute("UPDATE budget_account SET limit_nanousd = 100, spent_nanousd = 70")
    [only] = await reasons(db, tenant, job)
    assert (only.code, only.facts) == ("budget", {"need": "0.00000004", "free": "0.00000003"})
    admin.execute("UPDATE budget_account SET overrun_at = now()")
    [only] = await reasons(db, tenant, job)
    assert "blocked" in only.detail


@pytest.mark.parametrize(
    ("waiting_for", "code"),
    [("approval", "approval"), ("signal", "signal"), ("children", "waiting")],
)
async def test_a_job_that_waits_says_for_what(
    waiting_for: str, code: str, db: Database, admin: psycopg.Connection, tenant: TenantId,
    version: VersionId,
) -> None:  # fmt: skip
    [job] = make_jobs(admin, tenant, version, state="waiting", waiting_for=waiting_for)
    [only] = await reasons(db, tenant, job)
    assert (only.code, waiting_for in only.detail) == (code, True)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"state": "dispatched", "current_attempt": ids.new()}, ["on_its_way"]),
        ({"state": "running", "current_attempt": ids.new(), "started_at": "now"}, ["running"]),
        (
            {"state": "running", "current_attempt": ids.new(), "started_at": "now",
             "cancel_requested_at": "now"},
            ["cancelling", "running"],
        ),
        ({"state": "cancelled", "finished_at": "now"}, ["ended"]),
    ],
)  # fmt: skip
async def test_a_job_that_waits_for_nothing_says_its_state(
    columns: dict[str, Any], expected: list[str], db: Database, admin: psycopg.Connection,
    tenant: TenantId, version: VersionId,
) -> None:  # fmt: skip
    [job] = make_jobs(admin, tenant, version, **columns)
    assert await codes(db, tenant, job) == expected


async def test_another_tenants_job_is_not_there(
    db: Database, admin: psycopg.Connection, tenant: TenantId, version: VersionId
) -> None:
    [job] = make_jobs(admin, tenant, version)
    with pytest.raises(NotFound):
        await reasons(db, make_tenant(admin, "other"), job)
