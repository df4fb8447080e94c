"""A job with what it used, how it came about, and its place in the queue."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from sqlalchemy.ext.asyncio import AsyncSession

from app.budgets import ledger
from app.core import clock, ids
from app.core.db import Database
from app.core.errors import NotFound
from app.core.ids import JobId, TenantId
from app.jobs.reads import Filter
from app.usage.pricing import Tokens
from app.views import jobs, usage
from app.views.jobs import Provenance, Used
from tests.arrange import make_jobs, make_tenant, make_workflow
from tests.budgets import scene
from tests.budgets.scene import Spender
from tests.usage import metered


async def test_a_jobs_usage_is_the_sum_of_its_lines_corrections_too(
    db: Database, admin: psycopg.Connection, tenant: TenantId, spender: Spender
) -> None:
    place = scene.begin(admin, tenant)
    await spender.settle(await spender.held(place, 1_000), 300)
    lost = await spender.held(replace(place, turn=1), 500)
    await ledger.settle_unconfirmed(spender.ledger, lost)
    await spender.settle(lost, 120)  # the true cost, late: a correction of -380
    open_hold = await spender.held(replace(place, turn=2), 70)
    await ledger.release(spender.ledger, await spender.held(replace(place, turn=3), 90))
    async with db.transaction() as session:
        view = await jobs.get(session, tenant, place.job)
        receipt = await jobs.receipt(session, tenant, place.job)
        page = await usage.lines(session, tenant, usage.Filter(), cursor=None, limit=10)
    assert view.used.calls == 2
    assert view.used.cost_nanousd == 420
    assert receipt.used == view.used
    assert sum(line.cost_nanousd for line in receipt.lines) == 420
    assert [line.kind for line in receipt.lines].count("correction") == 1
    states = {hold.id: (hold.state, hold.asked_nanousd) for hold in receipt.holds}
    assert len(states) == 4
    assert states[open_hold] == ("held", 70)
    assert {line.id for line in page.items} == {line.id for line in receipt.lines}


def step(admin: psycopg.Connection, place: Any, name: str, facts: dict[str, Any]) -> None:
    admin.execute(
        "INSERT INTO step (id, tenant, job, attempt, name, item, kind, state, facts, started_at, finished_at)"
        " VALUES (%s, %s, %s, %s, %s, 0, 'model', 'succeeded', %s, app_now(), app_now())",
        (ids.new(), place.tenant, place.job, place.attempt, name, Jsonb(facts)),
    )


async def test_provenance_is_what_the_recorded_steps_say(
    session: AsyncSession, admin: psycopg.Connection, tenant: TenantId
) -> None:
    place = scene.begin(admin, tenant)
    bought = {
        "prompt": "draft@2",
        "provider": "local",
        "model": "m",
        "route": "cheap",
        "cache": "miss",
    }
    step(admin, place, "find", {"collection": "handbook", "corpus_version": 12})
    step(admin, place, "draft", bought)
    step(admin, place, "again", bought | {"cache": "recorded", "prompt": "redraft@1"})
    step(admin, place, "more", bought)
    looked = {"tool": "crm.lookup", "tool_version": "2", "effect": "keyed"}
    step(admin, place, "look", looked | {"tool_calls": 2})
    step(admin, place, "look_again", looked | {"tool_calls": 1})
    step(admin, place, "plain", {})
    view = await jobs.get(session, tenant, place.job)
    assert view.provenance == Provenance(
        ["draft@2", "redraft@1"],
        ["local/m"],
        ["cheap"],
        {"handbook": 12},
        {"miss": 2, "recorded": 1},
        ["crm.lookup@2"],
    )
    assert view.used.tool_calls == 3
    assert len(await jobs.steps(session, tenant, place.job)) == 7


async def test_a_page_shows_each_job_with_its_own(
    db: Database, admin: psycopg.Connection, tenant: TenantId, spender: Spender
) -> None:
    place = scene.begin(admin, tenant)
    await spender.settle(await spender.held(place, 1_000), 300)
    step(admin, place, "draft", {"prompt": "draft@2"})
    idle = scene.begin(admin, tenant)
    async with db.transaction() as session:
        page = await jobs.listed(session, tenant, Filter(), cursor=None, limit=10)
    seen = {view.job.id: (view.used.cost_nanousd, view.provenance.prompts) for view in page.items}
    assert seen == {place.job: (300, ["draft@2"]), idle.job: (0, [])}
    assert page.items[0].used == Used()


async def test_a_place_in_the_queue_is_among_ones_own(
    session: AsyncSession, admin: psycopg.Connection, tenant: TenantId
) -> None:
    version = make_workflow(admin, tenant)
    first, second, third = make_jobs(admin, tenant, version, 3)
    (urgent,) = make_jobs(admin, tenant, version, rank=clock.now() - timedelta(minutes=5))
    make_jobs(admin, tenant, version, lane="batch")
    other = make_tenant(admin, "other")
    make_jobs(admin, other, make_workflow(admin, other), rank=clock.now() - timedelta(hours=1))
    places = [
        (await jobs.get(session, tenant, job)).queue_position
        for job in (urgent, first, second, third)
    ]
    assert places == [1, 2, 3, 4]


async def test_nothing_is_read_of_another_tenants_job(
    session: AsyncSession, admin: psycopg.Connection, tenant: TenantId
) -> None:
    place = scene.begin(admin, tenant)
    other = make_tenant(admin, "other")
    reads = (jobs.get, jobs.steps, jobs.receipt)
    for read in reads:
        for asked in ((other, place.job), (tenant, JobId(ids.new()))):
            with pytest.raises(NotFound):
                await read(session, *asked)
    with pytest.raises(NotFound):
        await jobs.happened(session, other, place.job, after=0, limit=1)


async def test_a_job_has_ended_once_its_last_event_is_told(
    session: AsyncSession, admin: psycopg.Connection, tenant: TenantId
) -> None:
    version = make_workflow(admin, tenant)
    (job,) = make_jobs(
        admin, tenant, version, state="cancelled", finished_at=clock.now(), event_seq=2
    )
    first = await jobs.happened(session, tenant, job, after=0, limit=10)
    assert ([event.seq for event in first.events], first.ended) == ([1], False)
    admin.execute(
        "INSERT INTO job_event (job, seq, tenant, at, name, data)"
        " VALUES (%s, 2, %s, app_now(), 'job.cancelled', '{}')",
        (job, tenant),
    )
    last = await jobs.happened(session, tenant, job, after=1, limit=10)
    assert ([event.seq for event in last.events], last.ended) == ([2], True)
    assert (await jobs.happened(session, tenant, job, after=2, limit=10)).ended


async def test_usage_lines_are_paged_by_the_moment_of_their_call(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    meter = await metered.metering(db, admin, tenant)
    moments = ["2026-05-10T20:02:00Z", "2026-05-10T20:00:00Z", "2026-05-10T20:01:00Z"]
    for moment in moments:
        await meter.line(moment, 5, tokens=Tokens(input=3, output=1))
    await meter.connection.close()
    async with db.transaction() as session:
        first = await usage.lines(session, tenant, usage.Filter(), cursor=None, limit=2)
        rest = await usage.lines(session, tenant, usage.Filter(), cursor=first.next_cursor, limit=2)
        narrow = usage.Filter(since=first.items[1].at, until=first.items[0].at)
        one = await usage.lines(session, tenant, narrow, cursor=None, limit=9)
    minutes = [line.at.minute for line in (*first.items, *rest.items)]
    assert (minutes, rest.next_cursor) == ([2, 1, 0], None)
    assert [line.at.minute for line in one.items] == [1]
