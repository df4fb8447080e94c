"""Fifty clients race one key, over two processes' desks; the first commit is held up on purpose."""

import asyncio
from datetime import timedelta
from typing import Any

import psycopg

from app.audit.trail import Actor
from app.core import ids
from app.core.db import Database
from app.core.ids import TenantId
from app.intake import admission
from app.intake.admission import Admitted, Asker, JobSpec
from app.intake.config import IntakeConfig
from app.ratelimit.config import RatelimitConfig
from app.ratelimit.limiter import Limiter
from tests.arrange import make_workflow
from tests.concurrency.conftest import Two
from tests.waiting import until

RUNGS = [("local", "smollm2-135m")]


async def test_fifty_clients_race_one_key_and_there_is_one_job(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    """C007: one job, one event, one record, one audit entry; fifty answers with one id."""
    make_workflow(admin, tenant)
    asker = Asker(tenant, None, Actor("operator", "x"))
    desks = [
        admission.open_desk(db, IntakeConfig(), RUNGS, Limiter(None, RatelimitConfig()))
        for _ in range(2)
    ]
    for turn in range(10):
        calls = [
            admission.admit(
                desks[n % 2], asker, JobSpec("noop", {"turn": turn}), key=f"race-{turn}"
            )
            for n in range(50)
        ]
        outcomes = await asyncio.gather(*calls)
        assert len({it.job for it in outcomes}) == 1
        assert [it.outcome for it in outcomes].count("created") == 1
    for desk in desks:
        await desk.close()
    for table in ("job", "job_event", "idempotency_record", "audit_entry"):
        assert admin.execute(f"SELECT count(*) FROM {table}").fetchone() == (10,)


async def test_the_second_waits_for_the_first_commit_and_replays_it(
    two: Two, db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    """C007, with the first commit delayed by a lock that is held."""
    make_workflow(admin, tenant)
    desk = admission.open_desk(db, IntakeConfig(), RUNGS, Limiter(None, RatelimitConfig()))
    asker = Asker(tenant, None, Actor("operator", "x"))
    job = ids.new()
    await two.a.execute(
        "INSERT INTO idempotency_record (tenant, route, key, fingerprint, object, created_at, expires_at)"
        " VALUES (%s, %s, 'k', '\\x00', %s, app_now(), app_now() + %s)",
        (tenant, admission.ROUTE, job, timedelta(hours=1)),
    )
    late: asyncio.Task[Any] = asyncio.create_task(
        admission.admit(desk, asker, JobSpec("noop", {}), key="k")
    )

    async def waits() -> bool:
        row = admin.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ).fetchone()
        return row is not None and row[0] == 1

    await until(waits, what="the second admission waits")
    await two.a.rollback()  # the first died before its commit: the second is the first
    made = await late
    assert isinstance(made, Admitted)
    assert made.outcome == "created"
    assert made.job != job
    await desk.close()
