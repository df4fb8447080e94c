"""One pass of the dispatcher, the waker and the reaper, each on real rows."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from app.budgets import ledger
from app.budgets.ledger import Labels, Place
from app.core import ids
from app.core.db import Database
from app.core.ids import HoldId, JobId, TenantId, WorkerId
from app.jobs import endings, transitions
from app.jobs.transitions import Released
from app.scheduling import dispatch, reaper, waker
from app.scheduling.config import SchedulingConfig
from app.scheduling.errors import NotLeading
from app.usage import pricing
from tests.arrange import make_jobs, make_tenant, make_workflow

LEASE = timedelta(seconds=5)
CONFIG = SchedulingConfig()


@pytest.fixture
async def hot(db: Database) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await db.connect_hot(settings=dispatch.SETTINGS) as connection:
        yield connection


def worker(
    admin: psycopg.Connection,
    slots: int,
    lanes: tuple[str, ...] = ("interactive", "standard", "batch"),
) -> WorkerId:
    made = WorkerId(ids.new())
    admin.execute(
        "INSERT INTO worker (id, host, pid, lanes, slots, started_at, seen_at)"
        " VALUES (%s, 'here', 1, %s, %s, app_now(), app_now())",
        (made, list(lanes), slots),
    )
    return made


def count(admin: psycopg.Connection, where: str) -> int:
    row = admin.execute(f"SELECT count(*) FROM job WHERE {where}").fetchone()
    assert row is not None
    return int(row[0])


async def release(hot: psycopg.AsyncConnection[Any], epoch: int) -> list[Released]:
    done = await dispatch.release(hot, epoch, CONFIG, LEASE)
    return [item for items in done.released.values() for item in items]


async def test_only_as_many_leave_as_there_are_free_slots(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    make_jobs(admin, tenant, make_workflow(admin, tenant), 20)
    epoch = await dispatch.lead(hot)
    assert await release(hot, epoch) == []  # no worker, no release
    busy = worker(admin, 5)
    worker(admin, 2)
    assert len(await release(hot, epoch)) == 7
    assert await release(hot, epoch) == []  # dispatched and not yet claimed: the slots are taken
    admin.execute(
        "UPDATE attempt SET state = 'running', worker = %s, claimed_at = app_now() WHERE id IN (SELECT id FROM attempt LIMIT 3)",
        (busy,),
    )
    admin.execute(
        "UPDATE job SET state = 'running', started_at = app_now() WHERE current_attempt IN (SELECT id FROM attempt WHERE state = 'running')"
    )
    assert await release(hot, epoch) == []
    admin.execute("UPDATE worker SET slots = slots + 4 WHERE id = %s", (busy,))
    assert len(await release(hot, epoch)) == 4


async def test_a_silent_or_stopping_worker_has_no_slots(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    make_jobs(admin, tenant, make_workflow(admin, tenant), 3)
    silent, stopping = worker(admin, 5), worker(admin, 5)
    admin.execute(
        "UPDATE worker SET seen_at = app_now() - interval '10 seconds' WHERE id = %s", (silent,)
    )
    admin.execute("UPDATE worker SET stopping_at = app_now() WHERE id = %s", (stopping,))
    assert await release(hot, await dispatch.lead(hot)) == []


async def test_no_tenant_passes_its_cap_over_all_lanes(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    version = make_workflow(admin, tenant)
    make_jobs(admin, tenant, version, 5, lane="interactive")
    make_jobs(admin, tenant, version, 5, lane="batch")
    admin.execute("UPDATE tenant SET max_running = 3")
    worker(admin, 50)
    epoch = await dispatch.lead(hot)
    assert len(await release(hot, epoch)) == 3
    assert await release(hot, epoch) == []


async def test_one_tenants_backlog_does_not_hold_up_the_others(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    """C018 on rows: ten tenants that come after a long queue each start within eleven releases."""
    make_jobs(admin, tenant, make_workflow(admin, tenant), 100)
    mine = worker(admin, 4)
    epoch = await dispatch.lead(hot)
    order: list[TenantId] = []

    async def turn() -> None:
        released = await release(hot, epoch)
        order.extend(item.tenant for item in released)
        pairs = [(item.job, item.attempt) for item in released]
        await transitions.claim(hot, pairs, worker=mine, lease=LEASE)
        ends = [
            transitions.End(item.job, item.attempt, "noop", {}, endings.succeeded({}))
            for item in released
        ]
        await transitions.end(hot, ends)

    await turn()
    late = [make_tenant(admin, f"late{n}") for n in range(10)]
    for other in late:
        make_jobs(admin, other, make_workflow(admin, other), 1)
    before = len(order)
    for _ in range(3):
        await turn()
    # Eleven releases are three passes of four slots; within a pass all leave at once, in no order.
    assert set(late) <= set(order[before : before + 12])
    for _ in range(3):
        await turn()
    assert Counter(order[-12:]) == {tenant: 12}  # and its share goes back up


async def test_a_suspended_tenants_jobs_stay_queued(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    make_jobs(admin, tenant, make_workflow(admin, tenant), 2)
    admin.execute("UPDATE tenant SET state = 'suspended'")
    worker(admin, 5)
    assert await release(hot, await dispatch.lead(hot)) == []


async def test_who_does_not_lead_any_more_releases_nothing(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    """C022"""
    make_jobs(admin, tenant, make_workflow(admin, tenant), 2)
    worker(admin, 5)
    old = await dispatch.lead(hot)
    new = await dispatch.lead(hot)
    with pytest.raises(NotLeading):
        await release(hot, old)
    assert len(await release(hot, new)) == 2


async def test_what_the_broker_refused_is_queued_again_at_no_cost(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    """C023 at the row."""
    make_jobs(admin, tenant, make_workflow(admin, tenant), 2)
    worker(admin, 5)
    epoch = await dispatch.lead(hot)
    released = await release(hot, epoch)
    await dispatch.unpublish(hot, released)
    assert (
        count(admin, "state = 'queued' AND failures + losses + interruptions + undelivered = 0")
        == 2
    )
    assert len(await release(hot, epoch)) == 2


async def test_money_wakes_in_the_order_of_the_queue_and_only_as_many_as_it_covers(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    version = make_workflow(admin, tenant)
    jobs = make_jobs(
        admin, tenant, version, 3, state="waiting", waiting_for="budget", need_nanousd=40
    )
    admin.execute("UPDATE budget_account SET limit_nanousd = 100, spent_nanousd = 70")
    assert await waker.wake(hot) == 0
    admin.execute("UPDATE budget_account SET spent_nanousd = 10")
    assert await waker.wake(hot) == 2
    states = admin.execute("SELECT id, state FROM job ORDER BY rank").fetchall()
    assert states == [(jobs[0], "queued"), (jobs[1], "queued"), (jobs[2], "waiting")]


def test_a_dear_job_is_not_overtaken_by_cheap_ones() -> None:
    one, other = TenantId(ids.new()), TenantId(ids.new())
    jobs = [JobId(ids.new()) for _ in range(4)]
    waiting = [(one, jobs[0], 50), (one, jobs[1], 1), (other, jobs[2], 5), (other, jobs[3], 6)]
    assert waker.affordable(waiting, {one: 40, other: 10}) == [jobs[2]]


async def test_the_reaper_ends_what_fell_silent_and_settles_what_it_held(
    db: Database, hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    [job] = make_jobs(admin, tenant, make_workflow(admin, tenant))
    mine = worker(admin, 5)
    [item] = await release(hot, await dispatch.lead(hot))
    [claimed] = await transitions.claim(hot, [(item.job, item.attempt)], worker=mine, lease=LEASE)
    assert claimed is not None
    book = ledger.open_ledger(db)
    async with db.transaction() as session:
        await pricing.seed(session)
        price = await pricing.at(session, "local", "smollm2-135m")
    assert price is not None
    place = Place(tenant, job, item.attempt, "ask", Labels(None, "noop", 1, "standard"))
    await ledger.reserve(
        book, place, hold=HoldId(ids.new()), provider="local", model="smollm2-135m", price=price,
        input_bound_tokens=100, max_output_tokens=10,
    )  # fmt: skip
    assert await reaper.reap(hot) == 0  # its lease is alive
    admin.execute("UPDATE attempt SET lease_until = app_now() - interval '1 second'")
    assert await reaper.reap(hot) == 1
    assert await reaper.reap(hot) == 0
    assert count(admin, "state = 'queued' AND losses = 1") == 1
    [account] = admin.execute(
        "SELECT held_nanousd, spent_nanousd > 0 FROM budget_account"
    ).fetchall()
    assert account == (0, True)
    assert admin.execute("SELECT unconfirmed FROM usage_line").fetchall() == [(True,)]
    await ledger.close(book)


async def test_a_dispatch_that_no_one_claimed_goes_back_and_waits_longer_each_time(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    make_jobs(admin, tenant, make_workflow(admin, tenant))
    worker(admin, 5)
    epoch = await dispatch.lead(hot)
    seen = []
    for _ in range(3):
        await release(hot, epoch)
        admin.execute(
            "UPDATE attempt SET lease_until = app_now() - interval '1 second' WHERE ended_at IS NULL"
        )
        assert await reaper.reap(hot) == 1
        seen.append(admin.execute("SELECT state, losses, undelivered FROM job").fetchone())
        admin.execute("UPDATE job SET wake_at = app_now()")
        await waker.wake(hot)
    assert seen == [("queued", 0, 1), ("waiting", 0, 2), ("waiting", 0, 3)]
