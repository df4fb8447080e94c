"""The moves of a job, each on real Postgres: what it writes, and what it refuses."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.trail import Actor
from app.core import ids
from app.core.db import Database
from app.core.errors import NotFound
from app.core.groupcommit import SETTINGS
from app.core.ids import JobId, TenantId, WorkerId
from app.jobs import endings, transitions
from app.jobs.endings import Ending
from app.jobs.errors import JobFinished, JobNotRetryable
from app.jobs.transitions import Claimed, End, Note, Released
from tests.arrange import heads, make_jobs, make_listener, make_tenant, make_workflow

LEASE = timedelta(seconds=6)
WORKER = WorkerId(ids.new())
ACTOR = Actor("operator", "test")


@pytest.fixture
async def hot(db: Database) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await db.connect_hot(settings=SETTINGS) as connection:
        yield connection


async def released(
    hot: psycopg.AsyncConnection[Any], tenant: TenantId, count: int = 1
) -> list[Released]:
    return await transitions.dispatch(hot, await heads(hot, tenant, count), timedelta(seconds=5))


async def claimed(hot: psycopg.AsyncConnection[Any], tenant: TenantId) -> Claimed:
    [item] = await released(hot, tenant)
    [found] = await transitions.claim(hot, [(item.job, item.attempt)], worker=WORKER, lease=LEASE)
    assert found is not None
    return found


def end(item: Claimed, ending: Ending, *, lease_over: bool = False) -> End:
    return End(item.job, item.attempt, item.workflow, item.metadata, ending, lease_over=lease_over)


def row(admin: psycopg.Connection, job: JobId, *columns: str) -> tuple[Any, ...]:
    found = admin.execute(f"SELECT {', '.join(columns)} FROM job WHERE id = %s", (job,)).fetchone()
    assert found is not None
    return tuple(found)


def events(admin: psycopg.Connection, job: JobId) -> list[tuple[int, str]]:
    return admin.execute(
        "SELECT seq, name FROM job_event WHERE job = %s ORDER BY seq", (job,)
    ).fetchall()


async def test_the_lowest_rank_is_released_first(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    version = make_workflow(admin, tenant)
    jobs = make_jobs(admin, tenant, version, 3)
    admin.execute("UPDATE job SET rank = rank - interval '1 minute' WHERE id = %s", (jobs[2],))
    assert [item.job for item in await released(hot, tenant)] == [jobs[2]]
    assert {item.job for item in await released(hot, tenant, 5)} == {jobs[0], jobs[1]}
    assert await released(hot, tenant, 5) == []


async def test_a_job_runs_from_queue_to_success_with_one_event_a_move(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    make_listener(admin, tenant)
    [job] = make_jobs(admin, tenant, make_workflow(admin, tenant))
    item = await claimed(hot, tenant)
    note = Note(job, item.attempt, "step.succeeded", {"step": "echo"}, {"done": 1, "total": 1})
    [noted] = await transitions.note(hot, [note])
    assert noted == transitions.Noted(cancelled=False, expired=False)
    assert await transitions.end(hot, [end(item, endings.succeeded({"n": 0}))]) == ["succeeded"]
    assert row(admin, job, "state", "output", "current_attempt", "event_seq") == (
        "succeeded", {"n": 0}, None, 5,
    )  # fmt: skip
    assert events(admin, job) == [
        (1, "job.queued"), (2, "job.dispatched"), (3, "job.running"), (4, "step.succeeded"),
        (5, "job.succeeded"),
    ]  # fmt: skip
    posted = admin.execute("SELECT name, payload FROM outbox_event WHERE subject = %s", (job,))
    assert posted.fetchall() == [
        ("job.succeeded", {"workflow": "noop", "metadata": {}, "status": "succeeded"})
    ]


@pytest.mark.parametrize("other", [None, "disabled"])
async def test_what_nobody_listens_for_is_not_posted(
    hot: psycopg.AsyncConnection[Any],
    admin: psycopg.Connection,
    tenant: TenantId,
    other: str | None,
) -> None:
    make_listener(admin, make_tenant(admin, "other"))
    if other is not None:
        make_listener(admin, tenant, other)
    make_jobs(admin, tenant, make_workflow(admin, tenant))
    item = await claimed(hot, tenant)
    assert await transitions.end(hot, [end(item, endings.succeeded({}))]) == ["succeeded"]
    assert admin.execute("SELECT count(*) FROM outbox_event").fetchone() == (0,)


async def test_several_events_of_one_job_in_one_group_are_numbered_in_order(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    [job] = make_jobs(admin, tenant, make_workflow(admin, tenant))
    item = await claimed(hot, tenant)
    notes = [Note(job, item.attempt, f"step.{n}", {}) for n in range(3)]
    assert None not in await transitions.note(hot, notes)
    assert events(admin, job)[3:] == [(4, "step.0"), (5, "step.1"), (6, "step.2")]


async def test_a_message_that_comes_twice_claims_once(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    make_jobs(admin, tenant, make_workflow(admin, tenant))
    item = await claimed(hot, tenant)
    rival = WorkerId(ids.new())
    again = await transitions.claim(hot, [(item.job, item.attempt)], worker=rival, lease=LEASE)
    assert again == [None]
    resent = await transitions.claim(hot, [(item.job, item.attempt)], worker=WORKER, lease=LEASE)
    assert resent == [item]  # the same worker's batch, sent again after a lost connection
    assert [name for _, name in events(admin, item.job)].count("job.running") == 1


async def test_a_worker_presumed_dead_can_write_nothing(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    make_jobs(admin, tenant, make_workflow(admin, tenant))
    item = await claimed(hot, tenant)
    await transitions.end(hot, [end(item, endings.lost(0))])
    assert await transitions.note(hot, [Note(item.job, item.attempt, "late", {})]) == [None]
    assert await transitions.end(hot, [end(item, endings.succeeded({}))]) == [None]
    assert row(admin, item.job, "state", "shared_losses", "output") == ("queued", 1, None)


async def test_the_reaper_ends_nothing_whose_lease_is_alive(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    """C026: what the reaper has read may be old; the statement looks at the lease again."""
    make_jobs(admin, tenant, make_workflow(admin, tenant))
    item = await claimed(hot, tenant)
    assert await transitions.end(hot, [end(item, endings.lost(0), lease_over=True)]) == [None]
    admin.execute("UPDATE attempt SET lease_until = app_now() - interval '1 second'")
    assert [found.attempt for found in await transitions.lapsed(hot, 10)] == [item.attempt]
    assert await transitions.end(hot, [end(item, endings.lost(0), lease_over=True)]) == ["queued"]


async def test_under_a_cancel_flag_every_ending_is_a_cancellation(
    hot: psycopg.AsyncConnection[Any],
    session: AsyncSession,
    admin: psycopg.Connection,
    tenant: TenantId,
) -> None:
    make_jobs(admin, tenant, make_workflow(admin, tenant))
    item = await claimed(hot, tenant)
    state = await transitions.cancel(session, tenant, item.job, actor=ACTOR, request_id=None)
    await session.commit()
    assert state == "running"
    assert await transitions.signals(hot, [(item.attempt, item.job)]) == [
        (item.attempt, "cancelled")
    ]
    assert await transitions.end(hot, [end(item, endings.succeeded({"n": 0}))]) == ["cancelled"]
    assert row(admin, item.job, "state", "output") == ("cancelled", None)
    outcome = admin.execute("SELECT outcome FROM attempt WHERE id = %s", (item.attempt,)).fetchone()
    assert outcome == ("cancelled",)


@pytest.mark.parametrize("state", ["queued", "dispatched", "scheduled", "waiting"])
async def test_a_job_without_a_running_worker_is_cancelled_at_once(
    state: str,
    hot: psycopg.AsyncConnection[Any],
    session: AsyncSession,
    admin: psycopg.Connection,
    tenant: TenantId,
) -> None:
    [job] = make_jobs(admin, tenant, make_workflow(admin, tenant))
    if state == "dispatched":
        await released(hot, tenant)
    elif state == "scheduled":
        admin.execute("UPDATE job SET state = 'scheduled', wake_at = app_now() + interval '1 day'")
    elif state == "waiting":
        admin.execute(
            "UPDATE job SET state = 'waiting', waiting_for = 'backoff', wake_at = app_now()"
        )
    cancelled = await transitions.cancel(session, tenant, job, actor=ACTOR, request_id="req")
    again = await transitions.cancel(session, tenant, job, actor=ACTOR, request_id="req")
    await session.commit()
    assert (cancelled, again) == ("cancelled", "cancelled")
    assert row(admin, job, "state", "current_attempt") == ("cancelled", None)
    assert [name for _, name in events(admin, job)].count("job.cancelled") == 1
    audited = admin.execute("SELECT action FROM audit_entry").fetchall()
    assert audited == [("job.cancel",)]
    open_attempts = admin.execute("SELECT count(*) FROM attempt WHERE ended_at IS NULL").fetchone()
    assert open_attempts == (0,)


async def test_a_finished_job_answers_a_cancel_with_what_it_is(
    hot: psycopg.AsyncConnection[Any],
    session: AsyncSession,
    admin: psycopg.Connection,
    tenant: TenantId,
) -> None:
    make_jobs(admin, tenant, make_workflow(admin, tenant))
    item = await claimed(hot, tenant)
    await transitions.end(hot, [end(item, endings.succeeded({}))])
    with pytest.raises(JobFinished) as refusal:
        await transitions.cancel(session, tenant, item.job, actor=ACTOR, request_id=None)
    assert refusal.value.context == {"status": "succeeded"}


async def test_another_tenants_job_is_not_there(
    session: AsyncSession, admin: psycopg.Connection, tenant: TenantId
) -> None:
    [job] = make_jobs(admin, tenant, make_workflow(admin, tenant))
    other = make_tenant(admin, "other")
    with pytest.raises(NotFound):
        await transitions.cancel(session, other, job, actor=ACTOR, request_id=None)
    with pytest.raises(NotFound):
        await transitions.retry(session, other, job, actor=ACTOR, request_id=None)


async def test_a_failed_job_is_retried_as_a_new_run(
    hot: psycopg.AsyncConnection[Any],
    session: AsyncSession,
    admin: psycopg.Connection,
    tenant: TenantId,
) -> None:
    make_jobs(admin, tenant, make_workflow(admin, tenant))
    item = await claimed(hot, tenant)
    with pytest.raises(JobNotRetryable):
        await transitions.retry(session, tenant, item.job, actor=ACTOR, request_id=None)
    await session.rollback()
    fault = endings.fault("provider_failed", "no")
    ending = endings.failed(fault, again_in=None)
    assert await transitions.end(hot, [end(item, ending)]) == ["failed"]
    await transitions.retry(session, tenant, item.job, actor=ACTOR, request_id=None)
    await session.commit()
    assert row(admin, item.job, "state", "run", "failures", "error", "finished_at") == (
        "queued", 2, 0, None, None,
    )  # fmt: skip
    again = await claimed(hot, tenant)
    assert (again.job, again.number, again.run) == (item.job, 2, 2)


async def test_a_retryable_fault_backs_off_and_wakes_with_its_rank(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    make_jobs(admin, tenant, make_workflow(admin, tenant))
    item = await claimed(hot, tenant)
    rank = row(admin, item.job, "rank")
    fault = endings.fault("provider_failed", "busy", retryable=True)
    ending = endings.failed(fault, again_in=timedelta(hours=1))
    assert await transitions.end(hot, [end(item, ending)]) == ["waiting"]
    assert await transitions.wake_due(hot, 10) == 0
    admin.execute("UPDATE job SET wake_at = app_now()")
    assert await transitions.wake_due(hot, 10) == 1
    assert row(admin, item.job, "state", "failures", "waiting_for") == ("queued", 1, None)
    assert row(admin, item.job, "rank") == rank


async def test_a_deadline_ends_what_no_worker_has(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    version = make_workflow(admin, tenant)
    make_jobs(admin, tenant, version)
    running = await claimed(hot, tenant)
    make_jobs(admin, tenant, version)
    [dispatched] = await released(hot, tenant)
    [queued] = make_jobs(admin, tenant, version)
    [later] = make_jobs(admin, tenant, version)
    admin.execute("UPDATE job SET deadline_at = app_now() WHERE id <> %s", (later,))
    assert await transitions.expire_idle(hot, 10) == 2
    states = {
        job: row(admin, job, "state")[0] for job in (dispatched.job, queued, running.job, later)
    }
    assert list(states.values()) == ["expired", "expired", "running", "queued"]
    assert await transitions.signals(hot, [(running.attempt, running.job)]) == [
        (running.attempt, "expired")
    ]


@pytest.mark.parametrize(
    ("ending", "state", "counters"),
    [
        (endings.lost(0), "queued", {"shared_losses": 1}),
        (endings.lost(50), "queued", {"shared_losses": 1}),
        (endings.lost_alone(0), "waiting", {"losses": 1}),
        (endings.lost_alone(endings.MAX_LOSSES - 1), "failed", {"losses": 1}),
        (endings.acquitted(), "queued", {}),
        (endings.interrupted(0), "queued", {"interruptions": 1}),
        (endings.interrupted(endings.MAX_INTERRUPTIONS - 1), "failed", {"interruptions": 1}),
        (endings.undelivered(0), "queued", {"undelivered": 1}),
        (endings.undelivered(1), "waiting", {"undelivered": 1}),
        (endings.unpublished(), "queued", {}),
        (endings.parked_for_money(5), "waiting", {}),
    ],
)
def test_each_ending_costs_its_own_counter(
    ending: Ending, state: str, counters: dict[str, int]
) -> None:
    assert (ending.state, ending.counters) == (state, counters)


def test_alone_the_delay_grows_from_loss_to_loss() -> None:
    waits = [endings.lost_alone(losses).wake_in for losses in range(endings.MAX_LOSSES - 1)]
    assert waits == [timedelta(seconds=2), timedelta(seconds=4)]


async def test_a_second_loss_sends_a_job_into_quarantine_and_a_retry_takes_it_out(
    hot: psycopg.AsyncConnection[Any],
    session: AsyncSession,
    admin: psycopg.Connection,
    tenant: TenantId,
) -> None:
    [job] = make_jobs(admin, tenant, make_workflow(admin, tenant))
    await transitions.end(hot, [end(await claimed(hot, tenant), endings.lost(0))])
    assert row(admin, job, "lane", "home_lane") == ("standard", None)
    await transitions.end(hot, [end(await claimed(hot, tenant), endings.lost(1))])
    assert row(admin, job, "state", "lane", "home_lane") == ("queued", "quarantine", "standard")
    last = endings.lost_alone(endings.MAX_LOSSES - 1)
    [alone] = await transitions.dispatch(hot, [job], LEASE)
    [item] = await transitions.claim(hot, [(job, alone.attempt)], worker=WORKER, lease=LEASE)
    assert item is not None
    assert (item.lane, item.quarantined) == (
        "standard",
        True,
    )  # money is told of by the client's lane
    await transitions.end(hot, [end(item, last)])
    assert row(admin, job, "state", "error->>'code'") == ("failed", "worker_lost")
    await transitions.retry(session, tenant, job, actor=ACTOR, request_id=None)
    await session.commit()
    assert row(admin, job, "state", "lane", "home_lane", "losses", "shared_losses") == (
        "queued", "standard", None, 0, 0,
    )  # fmt: skip


def test_lost_dispatches_wait_longer_each_time_up_to_a_minute() -> None:
    waits = [endings.undelivered(times).wake_in for times in range(1, 9)]
    assert [wait and wait.total_seconds() for wait in waits] == [1, 2, 4, 8, 16, 32, 60, 60]
