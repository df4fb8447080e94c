"""One pass of the dispatcher, the waker and the reaper, each on real rows."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from app.audit.trail import PLATFORM
from app.budgets import ledger
from app.budgets.ledger import Labels, Place
from app.core import ids
from app.core.db import Database
from app.core.ids import AttemptId, HoldId, JobId, TenantId
from app.jobs import endings, transitions
from app.jobs.transitions import Released
from app.scheduling import dispatch, quarantine, reaper, waker
from app.scheduling.config import SchedulingConfig
from app.scheduling.errors import NotLeading
from app.scheduling.shards import Lead
from app.usage import pricing
from tests.arrange import make_jobs, make_tenant, make_worker, make_workflow
from tests.waiting import until

LEASE = timedelta(seconds=5)
CONFIG = SchedulingConfig()
ALONE = ("standard",)  # lanes of a worker that keeps no reserve for others


@pytest.fixture
async def hot(db: Database) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await db.connect_hot(settings=dispatch.SETTINGS) as connection:
        yield connection


def count(admin: psycopg.Connection, where: str) -> int:
    row = admin.execute(f"SELECT count(*) FROM job WHERE {where}").fetchone()
    assert row is not None
    return int(row[0])


async def release(hot: psycopg.AsyncConnection[Any], epoch: Lead) -> list[Released]:
    done = await dispatch.release(hot, epoch, CONFIG, LEASE)
    return [item for groups in done.released.values() for group in groups for item in group]


async def test_only_as_many_leave_as_there_are_free_slots(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    make_jobs(admin, tenant, make_workflow(admin, tenant), 20)
    epoch = await dispatch.lead(hot)
    assert await release(hot, epoch) == []  # no worker, no release
    busy = make_worker(admin, 5, ALONE)
    make_worker(admin, 2, ALONE)
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
    silent, stopping = make_worker(admin, 5), make_worker(admin, 5)
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
    make_worker(admin, 50)
    epoch = await dispatch.lead(hot)
    assert len(await release(hot, epoch)) == 3
    assert await release(hot, epoch) == []


async def test_lanes_share_the_slots_and_leave_a_reserve(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    version = make_workflow(admin, tenant)
    make_jobs(admin, tenant, version, 30)
    make_worker(admin, 20)
    epoch = await dispatch.lead(hot)
    assert len(await release(hot, epoch)) == 18  # two of twenty are never lent
    make_jobs(admin, tenant, version, 30, lane="interactive")
    assert [item.lane for item in await release(hot, epoch)] == ["interactive"] * 2


async def test_jobs_in_quarantine_go_to_its_worker_alone_one_at_a_time(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    """C025"""
    version = make_workflow(admin, tenant)
    alone = make_jobs(admin, tenant, version, 3, lane="quarantine", home_lane="standard")
    others = make_jobs(admin, tenant, version, 2)
    make_worker(admin, 50)
    epoch = await dispatch.lead(hot)
    assert {item.job for item in await release(hot, epoch)} == set(others)
    make_worker(admin, 1, ("quarantine",))
    assert [(item.job, item.lane) for item in await release(hot, epoch)] == [
        (alone[0], "quarantine")
    ]
    assert await release(hot, epoch) == []


@pytest.mark.parametrize("served", [True, False])
async def test_quarantine_without_a_worker_is_told_of(
    served: bool, hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    jobs = make_jobs(
        admin, tenant, make_workflow(admin, tenant), 2, lane="quarantine", home_lane="batch"
    )
    if served:
        make_worker(admin, 1, ("quarantine",))
    seen = await quarantine.look(hot)
    assert (seen.queued, seen.active, seen.workers) == (2, 0, int(served))
    assert seen.needed
    assert not seen.neglected  # it has only just begun to wait
    admin.execute("UPDATE job SET queued_at = app_now() - interval '31 seconds'")
    assert (await quarantine.look(hot)).neglected is not served
    await transitions.dispatch(hot, jobs, LEASE)
    seen = await quarantine.look(hot)
    assert (seen.queued, seen.active, seen.neglected) == (0, 2, False)


async def test_a_full_named_resource_lets_other_work_pass_in_every_lane(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    version = make_workflow(admin, tenant)
    limits = {"resource:crm-api": 2}
    capped = make_jobs(admin, tenant, version, 40, limits=limits)
    also = make_jobs(admin, tenant, version, 40, limits=limits, workflow="also", lane="batch")
    free = make_jobs(admin, tenant, version, 3, workflow="free")
    make_worker(admin, 50)
    epoch = await dispatch.lead(hot)
    first = {item.job for item in await release(hot, epoch)}
    assert len(first & {*capped, *also}) == 2
    assert first > set(free)
    assert await release(hot, epoch) == []
    admin.execute("UPDATE job SET state = 'waiting', waiting_for = 'backoff', wake_at = 'infinity',"
                  " current_attempt = NULL WHERE id = ANY (%s)", (list(first),))  # fmt: skip
    admin.execute("UPDATE attempt SET state = 'ended', ended_at = now(), outcome = 'parked'")
    assert len(await release(hot, epoch)) == 2  # what is parked holds no place


@pytest.mark.parametrize(
    ("kind", "name", "released"),
    [("all", "", 3), ("workflow", "noop", 3), ("resource", "crm-api", 7), ("workflow", "x", 8)],
)
async def test_operators_cap_what_runs_of_all_tenants(
    kind: str,
    name: str,
    released: int,
    hot: psycopg.AsyncConnection[Any],
    admin: psycopg.Connection,
    tenant: TenantId,
) -> None:
    limits = {"resource:crm-api": 50}
    for each in (tenant, make_tenant(admin, "other")):
        version = make_workflow(admin, each)
        make_jobs(admin, each, version, 2, limits=limits)
        make_jobs(admin, each, version, 2)
    admin.execute(
        "INSERT INTO cap (owner, kind, name, max_running, reason, set_by, set_at)"
        " VALUES (%s, %s, %s, 3, '', 'test', now())",
        (PLATFORM, kind, name),
    )
    make_worker(admin, 50, ALONE)
    epoch = await dispatch.lead(hot)
    assert len(await release(hot, epoch)) == released


async def test_a_hundred_thousand_jobs_of_a_full_cap_do_not_block_the_tenants_other_work(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    version = make_workflow(admin, tenant)
    [model] = make_jobs(admin, tenant, version, limits={"workflow": 1})
    admin.execute(
        """INSERT INTO job (id, tenant, workflow, version, version_number, state, lane, priority, rank, cap_group,
                            limits, input, predicted_nanousd, max_attempts, metadata, tags, created_at, queued_at)
           SELECT uuidv7(), tenant, workflow, version, 1, 'queued', lane, 9, rank - interval '1 hour', cap_group,
                  limits, '{}', 1, 3, '{}', '{}', now(), now()
             FROM job, generate_series(1, 100000) WHERE id = %s""",
        (model,),
    )
    behind = make_jobs(admin, tenant, version, 5, workflow="other")
    make_worker(admin, 50, ALONE)
    epoch = await dispatch.lead(hot)
    released = {item.job for item in await release(hot, epoch)}
    assert released > set(behind)
    assert len(released) == 6


async def test_a_tenant_with_many_kinds_of_work_gets_through_all_of_them(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    """More lines than a pass looks at: none waits for ever behind those that are full."""
    version = make_workflow(admin, tenant)
    admin.execute(
        "INSERT INTO cap (owner, kind, name, max_running, reason, set_by, set_at)"
        " SELECT %s, 'workflow', 'held' || n, 0, '', 'test', now() FROM generate_series(1, 90) n",
        (PLATFORM,),
    )
    for n in range(1, 91):
        make_jobs(admin, tenant, version, workflow=f"held{n}")
    free = [make_jobs(admin, tenant, version, workflow=f"free{n}")[0] for n in range(20)]
    make_worker(admin, 50, ALONE)
    epoch = await dispatch.lead(hot)
    released: set[JobId] = set()

    async def all_out() -> bool:
        released.update(item.job for item in await release(hot, epoch))
        return released == set(free)

    await until(all_out, what="every line that may run is found")


async def test_one_tenants_backlog_does_not_hold_up_the_others(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    """C018 on rows: ten tenants that come after a long queue each start within eleven releases."""
    make_jobs(admin, tenant, make_workflow(admin, tenant), 100)
    mine = make_worker(admin, 4, ALONE)
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
    make_worker(admin, 5)
    assert await release(hot, await dispatch.lead(hot)) == []


async def test_who_does_not_lead_any_more_releases_nothing(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    """C022"""
    make_jobs(admin, tenant, make_workflow(admin, tenant), 2)
    make_worker(admin, 5)
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
    make_worker(admin, 5)
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
    mine = make_worker(admin, 5)
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
    assert count(admin, "state = 'queued' AND shared_losses = 1") == 1
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
    make_worker(admin, 5)
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


def test_groups_are_no_larger_than_their_lane_allows_and_reach_every_worker() -> None:
    def items(lane: str, count: int) -> list[Released]:
        return [
            Released(AttemptId(ids.new()), JobId(ids.new()), TenantId(ids.new()), lane, 1)
            for _ in range(count)
        ]

    both = {"standard", "batch"}
    made = dispatch.grouped([*items("standard", 3), *items("batch", 10)], {"batch": 4}, [both])
    assert [len(group) for group in made["standard"]] == [1, 1, 1]
    assert [len(group) for group in made["batch"]] == [4, 4, 2]
    three = [both, {"batch"}, {"standard"}, {"batch"}]
    made = dispatch.grouped(items("batch", 10), {"batch": 64}, three)
    assert [len(group) for group in made["batch"]] == [4, 4, 2]
    made = dispatch.grouped(items("batch", 1), {"batch": 64}, [])
    assert [len(group) for group in made["batch"]] == [1]
