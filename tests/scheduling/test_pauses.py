"""What is paused stays in the queue and holds up nobody else."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from app.audit.trail import Actor
from app.core.db import Database
from app.core.ids import JobId, TenantId, WorkerId
from app.jobs import transitions
from app.jobs.transitions import Released
from app.scheduling import dispatch, reaper
from app.scheduling.config import SchedulingConfig
from app.scheduling.shards import Lead
from app.switches import pauses
from app.switches.pauses import Scope
from tests.arrange import make_jobs, make_tenant, make_worker, make_workflow

LEASE = timedelta(seconds=5)
ACTOR = Actor("operator", "ann")
ALONE = ("standard",)  # lanes of a worker that keeps no reserve for others


@pytest.fixture
async def hot(db: Database) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await db.connect_hot(settings=dispatch.SETTINGS) as connection:
        yield connection


async def release(hot: psycopg.AsyncConnection[Any], epoch: Lead) -> list[Released]:
    done = await dispatch.release(hot, epoch, SchedulingConfig(), LEASE)
    return [item for groups in done.released.values() for group in groups for item in group]


async def move(db: Database, verb: Any, scope: Scope) -> None:
    async with db.transaction() as session:
        await verb(session, scope, actor=ACTOR, reason="test")


@pytest.fixture
def kinds(admin: psycopg.Connection, tenant: TenantId) -> dict[tuple[str, str, str], list[JobId]]:
    """A job of each of two tenants, lanes and workflows."""
    found = {}
    for slug, whose in (("acme", tenant), ("other", make_tenant(admin, "other"))):
        version = make_workflow(admin, whose)
        for lane in ("standard", "batch"):
            for workflow in ("noop", "also"):
                made = make_jobs(admin, whose, version, lane=lane, workflow=workflow)
                found[slug, lane, workflow] = made
    make_worker(admin, 50)
    return found


@pytest.mark.parametrize(
    ("kind", "mine", "name", "held"),
    [
        ("tenant", True, "", 4),
        ("lane", False, "batch", 4),
        ("lane", True, "batch", 2),
        ("workflow", False, "also", 4),
        ("workflow", True, "also", 2),
        ("workflow", True, "none", 0),
    ],
)
async def test_what_is_paused_stays_queued_and_the_rest_leaves(
    kind: str, mine: bool, name: str, held: int, db: Database, hot: psycopg.AsyncConnection[Any],
    tenant: TenantId, kinds: dict[tuple[str, str, str], list[JobId]],
) -> None:  # fmt: skip
    scope = Scope(kind, tenant if mine else pauses.of_lane("x").owner, name)
    epoch = await dispatch.lead(hot)
    await move(db, pauses.pause, scope)
    released = {item.job for item in await release(hot, epoch)}
    kept = {
        job
        for (slug, lane, workflow), jobs in kinds.items()
        for job in jobs
        if (slug == "acme" or not mine)
        and (kind == "tenant" or name == (lane if kind == "lane" else workflow))
    }
    assert len(kept) == held
    assert released == {job for jobs in kinds.values() for job in jobs} - kept
    assert await release(hot, epoch) == []
    await move(db, pauses.resume, scope)
    assert {item.job for item in await release(hot, epoch)} == kept


async def test_a_pause_counts_beside_a_cap_of_the_same_name(
    db: Database, hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    make_jobs(admin, tenant, make_workflow(admin, tenant), 5)
    make_worker(admin, 50)
    workflow = pauses.of_workflow("noop", tenant)
    admin.execute(
        "INSERT INTO cap (owner, kind, name, max_running, reason, set_by, set_at)"
        " VALUES (%s, 'workflow', 'noop', 2, '', 'test', now())",
        (tenant,),
    )
    epoch = await dispatch.lead(hot)
    await move(db, pauses.pause, workflow)
    assert await release(hot, epoch) == []
    await move(db, pauses.resume, workflow)
    assert len(await release(hot, epoch)) == 2


async def test_a_drain_lets_go_what_is_queued(
    db: Database, hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    make_jobs(admin, tenant, make_workflow(admin, tenant), 3)
    make_worker(admin, 50)
    await move(db, pauses.drain, pauses.of_tenant(tenant))
    assert len(await release(hot, await dispatch.lead(hot))) == 3


async def test_what_is_on_its_way_runs_and_what_comes_back_stays(
    db: Database, hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    make_jobs(admin, tenant, make_workflow(admin, tenant), 2)
    mine = make_worker(admin, 50)
    epoch = await dispatch.lead(hot)
    [one, other] = await release(hot, epoch)
    await move(db, pauses.pause, pauses.of_tenant(tenant))
    [claimed] = await transitions.claim(hot, [(one.job, one.attempt)], worker=mine, lease=LEASE)
    assert claimed is not None
    admin.execute(
        "UPDATE attempt SET lease_until = app_now() - interval '1 s' WHERE id = %s",
        (other.attempt,),
    )
    assert await reaper.reap(hot) == 1
    assert await release(hot, epoch) == []
    await move(db, pauses.resume, pauses.of_tenant(tenant))
    assert [item.job for item in await release(hot, epoch)] == [other.job]


@pytest.mark.parametrize("verb", [pauses.pause, pauses.drain])
async def test_a_held_worker_offers_no_slots_until_it_is_let_go(
    verb: Any, db: Database, hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection,
    tenant: TenantId,
) -> None:  # fmt: skip
    make_jobs(admin, tenant, make_workflow(admin, tenant), 9)
    held, _ = make_worker(admin, 5, ALONE), make_worker(admin, 3, ALONE)
    epoch = await dispatch.lead(hot)
    await move(db, verb, pauses.of_worker(held))
    assert len(await release(hot, epoch)) == 3
    await move(db, pauses.resume, pauses.of_worker(held))
    assert len(await release(hot, epoch)) == 5


async def test_the_pause_of_a_worker_long_gone_goes_with_its_row(
    db: Database, hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection
) -> None:
    gone, there = make_worker(admin, 1), make_worker(admin, 1)
    for worker in (gone, there):
        await move(db, pauses.drain, pauses.of_worker(WorkerId(worker)))
    await move(db, pauses.pause, pauses.of_lane("batch"))
    admin.execute(
        "UPDATE worker SET seen_at = app_now() - interval '2 hours' WHERE id = %s", (gone,)
    )
    await dispatch.tidy(hot)
    names = {row[0] for row in admin.execute("SELECT name FROM pause").fetchall()}
    assert names == {str(there), "batch"}
