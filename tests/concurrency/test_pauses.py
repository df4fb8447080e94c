"""A pause and a pass of the dispatcher, in both orders: once the pause has answered, nothing of it leaves."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from app.audit.trail import Actor
from app.core.db import Database
from app.core.ids import TenantId
from app.jobs import transitions
from app.scheduling import dispatch
from app.scheduling.config import SchedulingConfig
from app.switches import pauses
from tests.arrange import make_jobs, make_worker, make_workflow
from tests.concurrency.conftest import Two

LEASE = timedelta(seconds=5)
ACTOR = Actor("operator", "ann")


@pytest.fixture
async def passing(db: Database) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await db.connect_hot(settings=dispatch.SETTINGS) as connection:
        yield connection


async def test_a_pause_waits_for_the_pass_under_way(
    two: Two, db: Database, passing: psycopg.AsyncConnection[Any], admin: psycopg.Connection,
    tenant: TenantId,
) -> None:  # fmt: skip
    jobs = make_jobs(admin, tenant, make_workflow(admin, tenant), 2)
    make_worker(admin, 5)
    epoch = await dispatch.lead(passing)
    await two.a.execute("SELECT FROM dispatch_shard FOR UPDATE")  # as a pass begins
    async with db.sessions() as session:
        _ = await session.connection()  # the backend is there
        late = asyncio.ensure_future(
            pauses.pause(session, pauses.of_tenant(tenant), actor=ACTOR, reason="test")
        )
        await two.blocked_session(session)
        released = await transitions.dispatch(two.a, jobs[:1], LEASE)
        await two.a.commit()
        await late
        await session.commit()
    assert len(released) == 1  # it had begun, so it is on its way
    done = await dispatch.release(passing, epoch, SchedulingConfig(), LEASE)
    assert done.released == {}


async def test_a_pass_waits_for_the_pause_and_releases_nothing_of_it(
    two: Two, db: Database, passing: psycopg.AsyncConnection[Any], admin: psycopg.Connection,
    tenant: TenantId,
) -> None:  # fmt: skip
    make_jobs(admin, tenant, make_workflow(admin, tenant), 2)
    make_worker(admin, 5)
    epoch = await dispatch.lead(passing)
    async with db.sessions() as session:
        await pauses.pause(session, pauses.of_tenant(tenant), actor=ACTOR, reason="test")
        late = asyncio.ensure_future(dispatch.release(passing, epoch, SchedulingConfig(), LEASE))
        await two.blocked(passing)
        await session.commit()
    assert (await late).released == {}
