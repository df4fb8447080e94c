"""What workflows really cost: learnt from jobs that ended, and used for who is next."""

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import clock, ids
from app.core.db import Database
from app.core.ids import AttemptId, HoldId, JobId, TenantId
from app.scheduling import costs, dispatch
from app.scheduling.config import SchedulingConfig
from app.usage import meter
from app.usage.pricing import Tokens
from tests.arrange import make_jobs, make_tenant, make_worker, make_workflow
from tests.budgets import scene
from tests.scheduling.test_passes import LEASE

observed = st.tuples(st.integers(2, 10**12), st.integers(0, 10**12))


@given(st.floats(costs.LEAST, costs.MOST), st.lists(observed))
def test_what_is_learnt_stays_within_its_bounds(ratio: float, jobs: list[tuple[int, int]]) -> None:
    assert costs.LEAST <= costs.learnt(ratio, jobs) <= costs.MOST


def test_twenty_jobs_make_it_new() -> None:
    assert costs.learnt(1.0, [(1_000, 100)] * 20) == pytest.approx(0.1, abs=0.12)
    assert costs.learnt(1.0, [(1_000, 1_000)]) == pytest.approx(1.0)


@pytest.fixture
async def hot(db: Database) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await db.connect_hot(settings=dispatch.SETTINGS) as connection:
        yield connection


def ratios(admin: psycopg.Connection) -> dict[str, float]:
    rows = admin.execute("SELECT workflow, ratio FROM workflow_cost").fetchall()
    return {workflow: round(ratio, 3) for workflow, ratio in rows}


async def spent(
    hot: psycopg.AsyncConnection[Any],
    admin: psycopg.Connection,
    tenant: TenantId,
    jobs: list[JobId],
    nanousd: int,
    state: str = "succeeded",
) -> None:
    """End jobs ten seconds ago, each with a usage line."""
    price = scene.enter_price(admin)
    lines = [
        meter.Line(
            tenant=tenant, call=HoldId(ids.new()), kind="charge", at=clock.now(), job=job,
            attempt=AttemptId(ids.new()), step="ask", provider="fake", model="fake-1", price=price.id,
            labels={"key": None, "workflow": "noop", "workflow_version": 1, "lane": "standard",
                    "end_user": None, "tags": []},
            tokens=Tokens(input=1, output=1), estimated=False, unconfirmed=False, cost_nanousd=nanousd,
            latency_ms=1,
        )
        for job in jobs
    ]  # fmt: skip
    await meter.write(hot, lines)
    admin.execute(
        "UPDATE job SET state = %s, started_at = app_now(), finished_at = app_now() - interval '10 seconds'"
        " WHERE id = ANY (%s)",
        (state, jobs),
    )


@pytest.fixture
def since(admin: psycopg.Connection) -> None:
    admin.execute("UPDATE dispatch_shard SET learnt_until = app_now() - interval '1 hour'")


@pytest.mark.usefixtures("since")
async def test_each_job_that_ended_is_learnt_from_once_and_a_cancelled_one_never(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    jobs = make_jobs(admin, tenant, make_workflow(admin, tenant), 5)
    await spent(hot, admin, tenant, jobs[:2], 500)
    await spent(hot, admin, tenant, jobs[2:4], 0, state="cancelled")
    assert [await costs.learn(hot), await costs.learn(hot)] == [4, 0]
    assert ratios(admin) == {"noop": pytest.approx(costs.learnt(1.0, [(1_000, 500)] * 2), abs=1e-3)}
    await spent(hot, admin, tenant, jobs[4:], 2_000, state="failed")
    admin.execute(
        "UPDATE job SET finished_at = app_now() - interval '9 seconds' WHERE state = 'failed'"
    )
    assert await costs.learn(hot) == 1
    assert ratios(admin)["noop"] == pytest.approx(0.905 * 0.9 + 0.2, abs=1e-3)


@pytest.mark.usefixtures("since")
async def test_jobs_that_ended_at_one_moment_are_not_cut_apart(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    jobs = make_jobs(admin, tenant, make_workflow(admin, tenant), 5)
    await spent(hot, admin, tenant, jobs, 500)
    assert [await costs.learn(hot, batch=2), await costs.learn(hot, batch=2)] == [5, 0]


async def test_who_predicts_far_too_much_is_served_by_what_it_really_uses(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection, tenant: TenantId
) -> None:
    other = make_tenant(admin, "other")
    for each in (tenant, other):
        make_jobs(admin, each, make_workflow(admin, each), 40)
    admin.execute("INSERT INTO workflow_cost VALUES (%s, 'noop', 0.25, now())", (tenant,))
    make_worker(admin, 20, ("standard",))
    done = await dispatch.release(hot, await dispatch.lead(hot), SchedulingConfig(), LEASE)
    mine = [item for [item] in done.released["standard"] if item.tenant == tenant]
    assert len(mine) == 16  # four for each of the other's
