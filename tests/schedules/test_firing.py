"""Firing: each due time makes one job or one reason why not, whatever dies in between."""

import asyncio
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from app.audit.trail import Actor
from app.budgets.errors import BudgetExhausted
from app.core import clock
from app.core.db import Database
from app.core.ids import KeyId, TenantId
from app.idempotency.errors import IdempotencyKeyReused
from app.intake.admission import Asker, Desk, JobSpec
from app.schedules import book, firing
from tests.schedules.conftest import CONFIG, OPERATOR, Due


async def settle(desk: Desk) -> None:
    """Passes until there is nothing more to do."""
    while await firing.step(desk, CONFIG):
        pass


def rows(admin: psycopg.Connection, query: str) -> list[Any]:
    return admin.execute(query.encode()).fetchall()


def runs(admin: psycopg.Connection) -> list[tuple[str, int]]:
    return rows(admin, "SELECT outcome, missed FROM schedule_run ORDER BY id")


def end_jobs(admin: psycopg.Connection) -> None:
    admin.execute(
        "UPDATE job SET state = 'succeeded', output = '{}', started_at = app_now(), finished_at = app_now()"
    )


async def test_a_due_time_makes_one_job_and_the_next_time_is_known(
    desk: Desk, due: Due, admin: psycopg.Connection, key: KeyId
) -> None:
    schedule = await due(job=JobSpec("noop", {"n": 7}, lane="batch", metadata={"team": "a"}))
    [(due_at,)] = rows(admin, "SELECT due_at FROM schedule")
    await settle(desk)
    [(job, asked, lane, metadata, by)] = rows(
        admin, "SELECT id, input, lane, metadata, key FROM job"
    )
    assert (asked, lane, by) == ({"n": 7}, "batch", key)
    assert metadata == {
        "team": "a", "towpath.schedule": book.wire(schedule), "towpath.due_at": clock.wire(due_at),
    }  # fmt: skip
    assert rows(admin, "SELECT id, outcome, job, due_at FROM schedule_run") == [
        (job, "admitted", job, due_at)
    ]
    [(ahead,)] = rows(admin, "SELECT fire_at > app_now() AND fire_at = due_at FROM schedule")
    assert ahead
    [(entry,)] = rows(admin, "SELECT body FROM audit_entry WHERE action = 'job.admit'")
    assert book.wire(schedule) in entry
    assert await firing.step(desk, CONFIG) == 0


async def test_a_crash_at_any_point_neither_loses_a_firing_nor_doubles_it(
    desk: Desk, due: Due, admin: psycopg.Connection
) -> None:
    await due()
    await settle(desk)
    before = rows(admin, "SELECT id, created_at FROM job")
    # As if the process had died after the admission, and its idempotency key had been forgotten since.
    admin.execute("UPDATE schedule_run SET outcome = 'pending', job = NULL")
    admin.execute("DELETE FROM idempotency_record")
    await settle(desk)
    assert rows(admin, "SELECT id, created_at FROM job") == before
    assert rows(admin, "SELECT count(*) FROM job_event") == [(1,)]
    assert runs(admin) == [("admitted", 0)]


async def test_two_processes_at_once_fire_once(
    desk: Desk, due: Due, admin: psycopg.Connection
) -> None:
    for _ in range(5):
        await due()
    await asyncio.gather(*[settle(desk) for _ in range(4)])
    assert rows(admin, "SELECT count(*), count(DISTINCT schedule) FROM schedule_run") == [(5, 5)]
    assert rows(admin, "SELECT count(*) FROM job") == [(5,)]


async def test_a_refused_firing_is_kept_with_its_reason_and_audited(
    desk: Desk, due: Due, admin: psycopg.Connection
) -> None:
    await due()
    admin.execute("UPDATE budget_account SET limit_nanousd = 0")
    await settle(desk)
    assert rows(admin, "SELECT outcome, code, job FROM schedule_run") == [
        ("refused", "budget_exhausted", None)
    ]
    [(entry,)] = rows(admin, "SELECT body FROM audit_entry WHERE action = 'schedule.refuse'")
    assert '"code":"budget_exhausted"' in entry
    assert rows(admin, "SELECT count(*) FROM job") == [(0,)]
    [(goes_on,)] = rows(admin, "SELECT fire_at > app_now() FROM schedule")
    assert goes_on


async def test_a_workflow_that_changed_refuses_what_no_longer_fits(
    desk: Desk, due: Due, admin: psycopg.Connection
) -> None:
    await due(job=JobSpec("gone", {}))
    await due(job=JobSpec("noop", {}, callback_url="https://example.com/gone"))
    await settle(desk)
    assert sorted(rows(admin, "SELECT outcome, code FROM schedule_run")) == [
        ("refused", "unknown_workflow"), ("refused", "validation_failed"),
    ]  # fmt: skip


async def test_a_suspended_tenant_fires_nothing_until_it_is_let_in_again(
    desk: Desk, due: Due, admin: psycopg.Connection
) -> None:
    await due(clock.now() - timedelta(hours=5), missed_runs="run_once")
    admin.execute("UPDATE tenant SET state = 'suspended'")
    await settle(desk)
    assert runs(admin) == []
    admin.execute("UPDATE tenant SET state = 'active'")
    await settle(desk)
    assert len(runs(admin)) == 1
    assert runs(admin)[0][1] >= 4


@pytest.mark.parametrize(("policy", "made"), [("skip", 0), ("run_once", 1), ("run_all", 3)])
async def test_after_an_outage_the_policy_says_what_is_made_up_for(
    desk: Desk, due: Due, admin: psycopg.Connection, policy: str, made: int
) -> None:
    past = clock.now() - timedelta(hours=3)
    await due(
        past - timedelta(days=2), cron=f"{past.minute} {past.hour} * * *", missed_runs=policy,
        overlap="cancel_running",
    )  # fmt: skip
    await settle(desk)
    outcomes = [outcome for outcome, _ in runs(admin)]
    assert outcomes.count("admitted") == made
    assert outcomes.count("missed") == (1 if policy == "skip" else 0)


async def test_an_open_job_skips_the_next_time(
    desk: Desk, due: Due, admin: psycopg.Connection
) -> None:
    await due(overlap="skip")
    await settle(desk)
    again(admin)
    await settle(desk)
    assert runs(admin) == [("admitted", 0), ("skipped", 0)]
    end_jobs(admin)
    again(admin)
    await settle(desk)
    assert [outcome for outcome, _ in runs(admin)] == ["admitted", "skipped", "admitted"]


async def test_an_open_job_makes_the_next_one_wait(
    desk: Desk, due: Due, admin: psycopg.Connection
) -> None:
    await due(overlap="queue")
    for _ in range(3):
        await settle(desk)
        again(admin)
    assert [outcome for outcome, _ in runs(admin)] == ["admitted", "pending", "pending"]
    end_jobs(admin)
    await settle(desk)
    assert [outcome for outcome, _ in runs(admin)][:3] == ["admitted", "admitted", "pending"]


async def test_an_open_job_is_cancelled_for_the_next_one(
    desk: Desk, due: Due, admin: psycopg.Connection
) -> None:
    await due(overlap="cancel_running")
    await settle(desk)
    again(admin)
    await settle(desk)
    assert rows(admin, "SELECT state FROM job ORDER BY id") == [("cancelled",), ("queued",)]
    [(entry,)] = rows(admin, "SELECT body FROM audit_entry WHERE action = 'job.cancel'")
    assert '"kind":"system"' in entry


async def test_a_line_of_waiting_runs_is_bounded(
    desk: Desk, due: Due, admin: psycopg.Connection, tenant: TenantId
) -> None:
    schedule = await due(overlap="queue")
    await settle(desk)
    admin.execute(
        "INSERT INTO schedule_run (id, tenant, schedule, due_at, at)"
        " SELECT uuidv7(), tenant, id, app_now(), app_now() FROM schedule, generate_series(1, %s)",
        (firing.MAX_WAITING,),
    )
    again(admin)
    await settle(desk)
    [(last,)] = rows(admin, "SELECT outcome FROM schedule_run ORDER BY id DESC LIMIT 1")
    assert last == "skipped"
    async with desk.db.transaction() as session:
        await book.delete(session, tenant, schedule, actor=OPERATOR)
    assert runs(admin) == []


async def test_only_the_last_runs_are_kept(desk: Desk, due: Due, admin: psycopg.Connection) -> None:
    await due()
    admin.execute(
        "INSERT INTO schedule_run (id, tenant, schedule, due_at, at, outcome)"
        " SELECT uuidv7(), tenant, id, app_now(), app_now(), 'missed' FROM schedule, generate_series(1, %s)",
        (book.RUNS_KEPT + 20,),
    )
    await settle(desk)
    assert len(runs(admin)) == book.RUNS_KEPT
    assert runs(admin)[-1] == ("admitted", 0)


async def test_by_hand_it_runs_at_once_and_once_a_key(
    desk: Desk, due: Due, admin: psycopg.Connection, tenant: TenantId, db: Database
) -> None:
    schedule = await due()
    asker = Asker(tenant, None, Actor("operator", "test"))
    first, replayed = await firing.run_now(desk, asker, schedule, key="k")
    assert not replayed
    admin.execute("DELETE FROM schedule_run")  # as if it had died before the run was written
    assert await firing.run_now(desk, asker, schedule, key="k") == (first, True)
    assert rows(admin, "SELECT by_hand, outcome FROM schedule_run") == [(True, "admitted")]
    assert rows(admin, "SELECT count(*) FROM job") == [(1,)]
    async with db.transaction() as session:
        job = JobSpec("noop", {"n": 2})
        await book.change(session, CONFIG, tenant, schedule, {"job": job}, actor=OPERATOR)
    with pytest.raises(IdempotencyKeyReused):
        await firing.run_now(desk, asker, schedule, key="k")
    admin.execute("UPDATE budget_account SET limit_nanousd = 0")
    with pytest.raises(BudgetExhausted):
        await firing.run_now(desk, asker, schedule, key=None)
    assert len(runs(admin)) == 1


async def test_a_pause_gives_up_what_waits_and_nothing_is_caught_up_on(
    desk: Desk, due: Due, admin: psycopg.Connection, tenant: TenantId, db: Database
) -> None:
    schedule = await due(overlap="queue")
    await settle(desk)
    again(admin)
    await settle(desk)
    async with db.transaction() as session:
        paused = await book.change(
            session, CONFIG, tenant, schedule, {"paused": True}, actor=OPERATOR
        )
    assert (paused.wish.paused, paused.next_run_at) == (True, None)
    assert [outcome for outcome, _ in runs(admin)] == ["admitted", "skipped"]
    async with db.transaction() as session:
        resumed = await book.change(
            session, CONFIG, tenant, schedule, {"paused": False}, actor=OPERATOR
        )
    assert resumed.next_run_at is not None
    assert resumed.next_run_at > clock.now()
    entries = rows(
        admin, "SELECT action FROM audit_entry WHERE action LIKE 'schedule.%' ORDER BY id"
    )
    assert entries == [("schedule.create",), ("schedule.change",), ("schedule.change",)]


async def test_many_schedules_of_one_moment_all_fire(
    desk: Desk, due: Due, admin: psycopg.Connection
) -> None:
    """Midnight of everybody: more than one pass takes."""
    await due()
    admin.execute(
        "INSERT INTO schedule (id, tenant, key, name, cron, time_zone, missed_runs, overlap, jitter_seconds,"
        " job, due_at, fire_at, created_at, updated_at) SELECT uuidv7(), tenant, key, name || n, cron, time_zone,"
        " missed_runs, overlap, jitter_seconds, job, due_at, fire_at, created_at, updated_at"
        " FROM schedule, generate_series(1, %s) n",
        (firing.BATCH + 4,),
    )
    await settle(desk)
    assert rows(admin, "SELECT count(*) FROM job") == [(firing.BATCH + 5,)]


def again(admin: psycopg.Connection) -> None:
    """The schedule's time has come once more."""
    admin.execute(
        "UPDATE schedule SET due_at = app_now() - interval '1 s', fire_at = app_now() - interval '1 s'"
    )
