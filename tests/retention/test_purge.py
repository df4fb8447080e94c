"""What goes by age, and what stays whatever its age."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from app.audit import trail
from app.budgets import ledger
from app.core import clock, ids
from app.core.db import Database
from app.core.ids import HoldId, JobId, TenantId, VersionId
from app.jobs import transitions
from app.jobs.errors import JobNotRetryable
from app.retention import purge
from app.retention.config import RetentionConfig
from app.retention.purge import Purge
from tests.arrange import make_jobs, make_listener, make_workflow
from tests.budgets import scene

CONFIG = RetentionConfig(batch=10)
DAY = timedelta(days=1)


@pytest.fixture
async def later(db: Database) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await db.connect_hot(settings=purge.SETTINGS) as connection:
        yield connection


async def at(db: Database, later: psycopg.AsyncConnection[Any], days: int, **config: Any) -> None:
    """Purge as it will be so many days from now, until nothing is left to do."""
    await later.execute("SELECT set_config('towpath.clock_offset', %s, false)", (f"{days} days",))
    one = Purge(db, later, CONFIG.model_copy(update=config))
    while any([more async for more in one.round()]):
        pass


def ended(
    admin: psycopg.Connection, tenant: TenantId, version: VersionId, state: str = "succeeded"
) -> JobId:
    """A job that has just ended, with a step, a try and what it said."""
    attempt = ids.new()
    fault = {
        "code": "bad_input",
        "message": "Mr. Smith has no account",
        "step": None,
        "retryable": False,
    }
    (job,) = make_jobs(
        admin, tenant, version, state=state, started_at=clock.now(), finished_at=clock.now(),
        output=Jsonb({"secret": 1}), metadata=Jsonb({"who": "Smith"}), tags=["kept"],
        error=Jsonb(fault) if state == "failed" else None,
    )  # fmt: skip
    admin.execute(
        "INSERT INTO attempt (id, tenant, job, run, number, state, lease_until, dispatched_at, ended_at, outcome,"
        " error) VALUES (%s, %s, %s, 1, 1, 'ended', now(), now(), now(), 'failed', %s)",
        (attempt, tenant, job, Jsonb(fault)),
    )
    admin.execute(
        "INSERT INTO step (id, tenant, job, attempt, name, item, kind, state, result, facts, started_at, finished_at)"
        " VALUES (%s, %s, %s, %s, 'echo', 0, 'transform', 'succeeded', '{\"secret\": 1}', '{}', now(), now())",
        (ids.new(), tenant, job, attempt),
    )
    return job


def rows(admin: psycopg.Connection, query: str, *bind: Any) -> list[tuple[Any, ...]]:
    return admin.execute(query, bind).fetchall()


async def test_contents_go_after_a_month_and_the_facts_stay(
    db: Database, later: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    job = ended(admin, tenant, make_workflow(admin, tenant), "failed")
    await at(db, later, 29)
    assert rows(admin, "SELECT FROM job WHERE erased_at IS NOT NULL") == []
    await at(db, later, 31)
    [(given, output, facts, error, tags)] = rows(
        admin, "SELECT input, output, metadata, error, tags FROM job WHERE id = %s", job
    )
    assert (given, output, facts, tags) == ({}, None, {}, ["kept"])
    assert (error["code"], error["message"]) == ("bad_input", "Its text was erased by age.")
    assert rows(admin, "SELECT result, error FROM step") == [(None, None)]
    assert rows(admin, "SELECT error FROM attempt") == [(None,)]
    assert len(rows(admin, "SELECT FROM job_event")) == 1
    actor = trail.Actor("key", "key_test")
    with pytest.raises(JobNotRetryable):
        async with db.transaction() as session:
            await transitions.retry(session, tenant, job, actor=actor, request_id=None)


async def test_history_goes_after_three_months_with_the_job_unless_money_names_it(
    db: Database, later: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    place = scene.begin(admin, tenant)
    price = scene.enter_price(admin)
    book = ledger.open_ledger(db)
    await ledger.reserve(
        book, place, hold=HoldId(ids.new()), provider="fake", model="fake-1", price=price,
        input_bound_tokens=100, max_output_tokens=10,
    )  # fmt: skip
    await ledger.close(book)
    await ledger.abandon(
        later, [place.attempt]
    )  # booked unconfirmed: a usage line and ledger entries
    scene.end(admin, place)
    admin.execute("UPDATE job SET state = 'cancelled', current_attempt = NULL, finished_at = now()")
    for _ in range(25):
        ended(admin, tenant, make_workflow_once(admin, tenant))
    money = (
        "SELECT count(*) FROM usage_line",
        "SELECT count(*) FROM ledger_entry",
        "SELECT count(*) FROM reservation",
    )
    booked = [rows(admin, query) for query in money]
    await at(db, later, 89, contents=None)
    assert rows(admin, "SELECT count(*) FROM job") == [(26,)]
    await at(db, later, 91, contents=None)
    [(left, given)] = rows(admin, "SELECT id, input FROM job")
    assert (left, given) == (place.job, {})
    assert rows(admin, "SELECT id FROM attempt") == [(place.attempt,)]
    assert rows(admin, "SELECT FROM step") == rows(admin, "SELECT FROM job_event") == []
    assert [rows(admin, query) for query in money] == booked
    assert booked[0] == [(1,)]


def make_workflow_once(admin: psycopg.Connection, tenant: TenantId) -> VersionId:
    found = rows(admin, "SELECT id FROM workflow_version WHERE tenant = %s", tenant)
    return VersionId(found[0][0]) if found else make_workflow(admin, tenant)


async def test_a_live_job_keeps_everything_and_goes_once_it_has_ended_long_ago(
    db: Database, later: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    version = make_workflow(admin, tenant)
    (waiting,) = make_jobs(admin, tenant, version)
    for _ in range(12):
        ended(admin, tenant, version)
    await at(db, later, 200)
    assert rows(admin, "SELECT id, input FROM job") == [(waiting, {"n": 0})]
    assert len(rows(admin, "SELECT FROM job_event")) == 1
    admin.execute("UPDATE job SET state = 'cancelled', finished_at = now() + interval '199 days'")
    await at(db, later, 201)
    assert rows(admin, "SELECT erased_at IS NULL FROM job") == [(True,)]
    await at(db, later, 300)
    assert rows(admin, "SELECT FROM job") == rows(admin, "SELECT FROM purge_later") == []


async def test_a_job_that_somebody_holds_is_passed_over_and_not_forgotten(
    db: Database, later: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    version = make_workflow(admin, tenant)
    held, free = ended(admin, tenant, version), ended(admin, tenant, version)
    async with await db.connect_hot(autocommit=False) as other:
        await other.execute("SELECT FROM job WHERE id = %s FOR UPDATE", (held,))
        await at(db, later, 100, contents=None)
        assert rows(admin, "SELECT id FROM job") == [(held,)]
        await other.commit()
    await at(db, later, 100, contents=None)
    assert rows(admin, "SELECT FROM job WHERE id = ANY (%s)", [held, free]) == []


async def test_what_is_not_set_stays(
    db: Database, later: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    ended(admin, tenant, make_workflow(admin, tenant))
    await at(db, later, 10_000, contents=None, history=None, deliveries=None)
    assert rows(admin, "SELECT input FROM job") == [({"n": 0},)]


async def test_deliveries_go_with_their_event_once_all_have_ended(
    db: Database, later: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    make_listener(admin, tenant)
    event = delivery = ids.new()
    for state, finished in (("delivered", "now()"), ("pending", "NULL")):
        event, delivery = ids.new(), ids.new()
        admin.execute(
            "INSERT INTO outbox_event (id, tenant, name, subject, payload, at, relayed_at)"
            " VALUES (%s, %s, 'job.succeeded', %s, '{}', now(), now())",
            (event, tenant, ids.new()),
        )
        admin.execute(
            "INSERT INTO delivery (id, tenant, endpoint, event, state, due_at, created_at, finished_at)"
            f" SELECT %s, %s, id, %s, %s, now(), now(), {finished} FROM webhook_endpoint",
            (delivery, tenant, event, state),
        )
        admin.execute(
            "INSERT INTO delivery_try (delivery, number, tenant, at, status, duration_ms)"
            " VALUES (%s, 1, %s, now(), 200, 5)",
            (delivery, tenant),
        )
    await at(db, later, 29)
    assert rows(admin, "SELECT count(*) FROM delivery_try") == [(2,)]
    await at(db, later, 31)
    assert rows(admin, "SELECT state FROM delivery") == [("pending",)]
    assert rows(admin, "SELECT id FROM outbox_event") == [(event,)]
    assert rows(admin, "SELECT delivery FROM delivery_try") == [(delivery,)]


async def test_the_marks_tell_how_far_a_purge_is_behind(
    db: Database, later: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    version = make_workflow(admin, tenant)
    for _ in range(15):
        ended(admin, tenant, version)
    await later.execute("SELECT set_config('towpath.clock_offset', '40 days', false)")
    one = Purge(db, later, CONFIG)
    steps = one.round()
    assert await anext(steps) is True
    async with db.transaction() as session:
        [mark] = await purge.marks(session)
    assert (mark.kind, mark.purged) == ("contents", 10)
    assert 9.9 * DAY.total_seconds() < mark.behind_seconds < 10.1 * DAY.total_seconds()
    await steps.aclose()
    await at(db, later, 40)
    async with db.transaction() as session:
        found = {
            mark.kind: (mark.purged, mark.behind_seconds) for mark in await purge.marks(session)
        }
    assert found["contents"] == (15, 0.0)
