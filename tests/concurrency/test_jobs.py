"""Every pair of moves that competes for a job's row, in both orders, with real commits."""

import asyncio
import random
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.trail import Actor
from app.core import ids
from app.core.db import Database, open_database
from app.core.groupcommit import SETTINGS
from app.core.ids import JobId, TenantId, WorkerId
from app.jobs import endings, transitions
from app.jobs.errors import JobFinished
from app.jobs.transitions import End, Released
from tests.arrange import make_jobs, make_listener, make_workflow
from tests.concurrency.conftest import Two

LEASE = timedelta(seconds=6)
ACTOR = Actor("operator", "test")


def state(admin: psycopg.Connection, job: JobId) -> str:
    row = admin.execute("SELECT state FROM job WHERE id = %s", (job,)).fetchone()
    assert row is not None
    return str(row[0])


def terminal_events(admin: psycopg.Connection, job: JobId) -> list[str]:
    rows = admin.execute(
        "SELECT name FROM job_event WHERE job = %s AND name IN"
        " ('job.succeeded', 'job.failed', 'job.cancelled', 'job.expired')",
        (job,),
    )
    return [row[0] for row in rows]


@pytest.fixture
async def dispatched(db: Database, admin: psycopg.Connection, tenant: TenantId) -> Released:
    jobs = make_jobs(admin, tenant, make_workflow(admin, tenant))
    async with await db.connect_hot() as connection:
        [item] = await transitions.dispatch(connection, jobs, LEASE)
    return item


@pytest.fixture
async def running(db: Database, dispatched: Released) -> Released:
    async with await db.connect_hot() as connection:
        item = (dispatched.job, dispatched.attempt)
        [found] = await transitions.claim(
            connection, [item], worker=WorkerId(ids.new()), lease=LEASE
        )
    assert found is not None
    return dispatched


async def claim(connection: psycopg.AsyncConnection[Any], item: Released) -> Any:
    one = [(item.job, item.attempt)]
    return (await transitions.claim(connection, one, worker=WorkerId(ids.new()), lease=LEASE))[0]


async def finish(connection: psycopg.AsyncConnection[Any], item: Released) -> str | None:
    ending = endings.succeeded({"done": True})
    return (await transitions.end(connection, [End(item.job, item.attempt, "noop", {}, ending)]))[0]


async def reap(
    connection: psycopg.AsyncConnection[Any], item: Released, from_state: str = "running"
) -> str | None:
    end = End(
        item.job, item.attempt, "noop", {}, endings.lost(0), from_state=from_state, lease_over=True
    )
    return (await transitions.end(connection, [end]))[0]


async def cancel(db: Database, tenant: TenantId, job: JobId) -> str:
    async with db.transaction() as session:
        return await transitions.cancel(session, tenant, job, actor=ACTOR, request_id=None)


async def cancelling(
    two: Two, db: Database, tenant: TenantId, job: JobId
) -> tuple[AsyncSession, str]:
    """A cancel that has not committed yet."""
    session = db.sessions()
    answer = await transitions.cancel(session, tenant, job, actor=ACTOR, request_id=None)
    return session, answer


async def test_two_workers_claim_one_attempt_and_one_gets_it(
    two: Two, dispatched: Released
) -> None:
    won, late = await two.race(claim(two.a, dispatched), claim(two.b, dispatched))
    assert won is not None
    assert late is None


async def test_twenty_claims_race_ten_rows(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    jobs = make_jobs(admin, tenant, make_workflow(admin, tenant), 10)
    async with await db.connect_hot() as connection:
        items = await transitions.dispatch(connection, jobs, LEASE)

    async def worker(mine: list[Released]) -> list[Any]:
        async with await db.connect_hot(settings=SETTINGS) as connection:
            pairs = [(item.job, item.attempt) for item in mine]
            return await transitions.claim(
                connection, pairs, worker=WorkerId(ids.new()), lease=LEASE
            )

    orders = [items if n % 2 else items[::-1] for n in range(20)]
    outcomes = await asyncio.gather(*[worker(order) for order in orders])
    won = [found.attempt for outcome in outcomes for found in outcome if found is not None]
    assert sorted(won) == sorted(item.attempt for item in items)


async def test_two_dispatchers_release_each_job_once(
    two: Two, admin: psycopg.Connection, tenant: TenantId
) -> None:
    """C022 at the row: the second passes over what the first holds."""
    jobs = make_jobs(admin, tenant, make_workflow(admin, tenant), 6)
    first = await transitions.dispatch(two.a, jobs[:4], LEASE)
    second = await transitions.dispatch(two.b, jobs, LEASE)
    await two.a.commit()
    await two.b.commit()
    assert (len(first), len(second)) == (4, 2)
    assert not {item.job for item in first} & {item.job for item in second}


async def test_a_finish_before_the_reaper_stands(
    two: Two, admin: psycopg.Connection, running: Released
) -> None:
    """C026"""
    admin.execute("UPDATE attempt SET lease_until = app_now() - interval '1 second'")
    won, late = await two.race(finish(two.a, running), reap(two.b, running))
    assert (won, late) == ("succeeded", None)
    assert terminal_events(admin, running.job) == ["job.succeeded"]


async def test_a_finish_after_the_reaper_is_refused(
    two: Two, admin: psycopg.Connection, running: Released
) -> None:
    admin.execute("UPDATE attempt SET lease_until = app_now() - interval '1 second'")
    won, late = await two.race(reap(two.a, running), finish(two.b, running))
    assert (won, late) == ("queued", None)
    assert terminal_events(admin, running.job) == []


async def test_a_claim_before_the_reaper_stands(
    two: Two, admin: psycopg.Connection, dispatched: Released
) -> None:
    admin.execute("UPDATE attempt SET lease_until = app_now() - interval '1 second'")
    won, late = await two.race(claim(two.a, dispatched), reap(two.b, dispatched, "dispatched"))
    assert won is not None
    assert late is None
    assert state(admin, dispatched.job) == "running"


async def test_a_claim_after_the_reaper_finds_nothing(
    two: Two, admin: psycopg.Connection, dispatched: Released
) -> None:
    admin.execute("UPDATE attempt SET lease_until = app_now() - interval '1 second'")
    won, late = await two.race(reap(two.a, dispatched, "dispatched"), claim(two.b, dispatched))
    assert (won, late) == ("queued", None)


async def test_a_finish_that_committed_first_answers_the_cancel(
    two: Two, db: Database, admin: psycopg.Connection, tenant: TenantId, running: Released
) -> None:
    """C032"""
    assert await finish(two.a, running) == "succeeded"
    async with db.sessions() as session:
        _ = await session.connection()  # the backend is there
        call = transitions.cancel(session, tenant, running.job, actor=ACTOR, request_id=None)
        late = asyncio.ensure_future(call)
        await two.blocked_session(session)
        await two.a.commit()
        with pytest.raises(JobFinished):
            await late
    assert terminal_events(admin, running.job) == ["job.succeeded"]


async def test_a_finish_after_the_cancel_ends_cancelled(
    two: Two, db: Database, admin: psycopg.Connection, tenant: TenantId, running: Released
) -> None:
    """C032"""
    session, answer = await cancelling(two, db, tenant, running.job)
    late = asyncio.ensure_future(finish(two.b, running))
    await two.blocked(two.b)
    await session.commit()
    await session.close()
    assert (answer, await late) == ("running", "cancelled")
    await two.b.commit()
    assert terminal_events(admin, running.job) == ["job.cancelled"]


async def test_a_cancel_before_the_claim_leaves_nothing_to_claim(
    two: Two, db: Database, admin: psycopg.Connection, tenant: TenantId, dispatched: Released
) -> None:
    session, answer = await cancelling(two, db, tenant, dispatched.job)
    late = asyncio.ensure_future(claim(two.b, dispatched))
    await two.blocked(two.b)
    await session.commit()
    await session.close()
    assert (answer, await late) == ("cancelled", None)
    await two.b.commit()
    assert state(admin, dispatched.job) == "cancelled"


async def test_a_cancel_after_the_claim_flags_the_worker(
    two: Two, db: Database, admin: psycopg.Connection, tenant: TenantId, dispatched: Released
) -> None:
    assert await claim(two.a, dispatched) is not None
    async with db.sessions() as session:
        _ = await session.connection()  # the backend is there
        call = transitions.cancel(session, tenant, dispatched.job, actor=ACTOR, request_id=None)
        late = asyncio.ensure_future(call)
        await two.blocked_session(session)
        await two.a.commit()
        assert await late == "running"
        await session.commit()
    held = [(dispatched.attempt, dispatched.job)]
    assert await transitions.signals(two.b, held) == [(dispatched.attempt, "cancelled")]


async def test_a_cancel_under_dispatch_is_passed_over(
    two: Two, db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    [job] = make_jobs(admin, tenant, make_workflow(admin, tenant))
    session, answer = await cancelling(two, db, tenant, job)
    assert await transitions.dispatch(two.b, [job], LEASE) == []
    await session.commit()
    await session.close()
    assert answer == "cancelled"


async def test_twenty_cancels_are_one(
    db: Database, admin: psycopg.Connection, tenant: TenantId, running: Released
) -> None:
    answers = await asyncio.gather(*[cancel(db, tenant, running.job) for _ in range(20)])
    assert answers == ["running"] * 20
    flagged = admin.execute("SELECT count(*) FROM job_event WHERE name = 'job.cancel_requested'")
    assert flagged.fetchone() == (1,)
    assert admin.execute("SELECT count(*) FROM audit_entry").fetchone() == (1,)


async def test_cancel_and_finish_at_once_agree_time_and_again(
    app_url: str, admin: psycopg.Connection, tenant: TenantId
) -> None:
    """C032: one terminal state, one terminal event, one webhook's event that agrees with it, and
    the answers to both clients that cancel tell the truth.
    """
    version = make_workflow(admin, tenant)
    make_listener(admin, tenant)
    jobs = make_jobs(admin, tenant, version, 300)  # a thousand pass as well, and take a minute
    db = open_database(app_url, pool_size=2)  # both clients keep their connections
    rng = random.Random(32)  # noqa: S311 - the same run every time, no secret
    async with (
        await db.connect_hot(settings=SETTINGS) as a,
        await db.connect_hot(settings=SETTINGS) as b,
    ):
        items = await transitions.dispatch(a, jobs, LEASE)
        pairs = [(item.job, item.attempt) for item in items]
        await transitions.claim(a, pairs, worker=WorkerId(ids.new()), lease=LEASE)

        async def one(item: Released) -> tuple[str, set[str]]:
            work = [finish(b, item), cancel(db, tenant, item.job), cancel(db, tenant, item.job)]
            order = rng.sample(range(3), 3)
            answers: dict[int, Any] = dict(
                zip(
                    order,
                    await asyncio.gather(*[work[n] for n in order], return_exceptions=True),
                    strict=True,
                )
            )
            told = {
                "finished" if isinstance(answers[n], JobFinished) else "accepted" for n in (1, 2)
            }
            return str(answers[0]), told

        outcomes = [await one(item) for item in items]
    await db.close()
    rows = admin.execute(
        "SELECT j.id, j.state, array_agg(o.name) FROM job j LEFT JOIN outbox_event o ON o.subject = j.id"
        " GROUP BY j.id"
    ).fetchall()
    seen = {job: (ended, names) for job, ended, names in rows}
    for item, (finished, told) in zip(items, outcomes, strict=True):
        assert told == ({"finished"} if finished == "succeeded" else {"accepted"})
        assert seen[item.job] == (finished, [f"job.{finished}"])
        assert terminal_events(admin, item.job) == [f"job.{finished}"]


async def test_the_waker_and_a_cancel_do_not_both_move_a_job(
    two: Two, db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    [job] = make_jobs(
        admin, tenant, make_workflow(admin, tenant), state="waiting", waiting_for="backoff"
    )
    admin.execute("UPDATE job SET wake_at = app_now()")
    session, answer = await cancelling(two, db, tenant, job)
    assert await transitions.wake_due(two.b, 10) == 0
    await session.commit()
    await session.close()
    assert answer == "cancelled"
    assert await transitions.wake_due(two.b, 10) == 0
