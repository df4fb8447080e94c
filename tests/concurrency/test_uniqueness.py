"""Unique keys raced by processes that commit: against each other, against dispatch, against the sweep."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from app.audit import trail
from app.audit.trail import Actor
from app.core.db import Database
from app.core.ids import JobId, TenantId
from app.intake import admission, uniqueness
from app.intake.admission import Admitted, Asker, Desk, JobSpec
from app.intake.config import IntakeConfig
from app.intake.errors import DuplicateJob
from app.intake.uniqueness import Policy, Unique
from app.jobs import transitions
from app.ratelimit.config import RatelimitConfig
from app.ratelimit.limiter import Limiter
from tests.arrange import make_workflow
from tests.concurrency.conftest import Two
from tests.waiting import until


@pytest.fixture
async def desks(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> AsyncIterator[list[Desk]]:
    """The desks of three processes."""
    make_workflow(admin, tenant)
    opened = [
        admission.open_desk(db, IntakeConfig(), [], Limiter(None, RatelimitConfig()))
        for _ in range(3)
    ]
    yield opened
    for desk in opened:
        await desk.close()


@pytest.fixture
def asker(tenant: TenantId) -> Asker:
    return Asker(tenant, None, Actor("operator", "x"))


def named(policy: Policy, n: int = 0, name: str = "nightly") -> JobSpec:
    return JobSpec("noop", {"n": n}, unique=Unique(name, None, policy))


def open_jobs(admin: psycopg.Connection) -> list[JobId]:
    rows = admin.execute("SELECT id FROM job WHERE finished_at IS NULL ORDER BY id").fetchall()
    return [job for (job,) in rows]


async def blocked(admin: psycopg.Connection) -> None:
    """Return once somebody waits for a lock."""

    async def waits() -> bool:
        row = admin.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            " AND datname = current_database()"
        ).fetchone()
        return row is not None and row[0] >= 1

    await until(waits, what="an admission waits")


@pytest.mark.parametrize("policy", ["return", "reject", "replace"])
async def test_sixty_race_for_a_name_and_one_job_is_open(
    policy: Policy, desks: list[Desk], asker: Asker, admin: psycopg.Connection
) -> None:
    for turn in range(5):
        calls = [
            admission.admit(desks[n % 3], asker, named(policy, n, f"name-{turn}"), key=None)
            for n in range(60)
        ]
        ended = await asyncio.gather(*calls, return_exceptions=True)
        kinds = Counter(
            one.outcome if isinstance(one, Admitted) else type(one).__name__ for one in ended
        )
        assert (
            kinds
            == {
                "return": {"created": 1, "existing": 59},
                "reject": {"created": 1, "DuplicateJob": 59},
                "replace": {"created": 60},
            }[policy]
        )
        assert len(open_jobs(admin)) == turn + 1
    holders = admin.execute("SELECT job FROM unique_key ORDER BY job").fetchall()
    assert [job for (job,) in holders] == open_jobs(admin)


@pytest.mark.parametrize("commits", [True, False])
async def test_the_second_waits_for_the_first_and_sees_what_it_did(
    commits: bool, two: Two, desks: list[Desk], asker: Asker, admin: psycopg.Connection
) -> None:
    """The first holds the name and has not committed; if it dies, the second is the first."""
    first = await admission.admit(desks[0], asker, named("return", name="warm-up"), key=None)
    await two.a.execute(
        "INSERT INTO unique_key (tenant, name, job) VALUES (%s, 'nightly', %s)",
        (asker.tenant, first.job),
    )
    late: asyncio.Task[Any] = asyncio.create_task(
        admission.admit(desks[1], asker, named("return"), key=None)
    )
    await blocked(admin)
    await (two.a.commit() if commits else two.a.rollback())
    made = await late
    assert (made.outcome, made.job == first.job) == (
        ("existing", True) if commits else ("created", False)
    )


@pytest.mark.parametrize("dispatch_commits", [True, False])
async def test_dispatch_came_first_and_the_job_is_not_replaced(
    dispatch_commits: bool, two: Two, desks: list[Desk], asker: Asker, admin: psycopg.Connection
) -> None:
    first = await admission.admit(desks[0], asker, named("replace"), key=None)
    await two.a.execute(
        "UPDATE job SET state = 'dispatched', current_attempt = uuidv7() WHERE id = %s",
        (first.job,),
    )
    late: asyncio.Task[Any] = asyncio.create_task(
        admission.admit(desks[1], asker, named("replace", 2), key=None)
    )
    await blocked(admin)
    await (two.a.commit() if dispatch_commits else two.a.rollback())
    if dispatch_commits:
        with pytest.raises(DuplicateJob):
            await late
        assert open_jobs(admin) == [first.job]
    else:
        made = await late
        assert made.outcome == "created"
        assert open_jobs(admin) == [made.job]


async def test_a_replacement_came_first_and_dispatch_passes_over_the_job(
    two: Two, desks: list[Desk], asker: Asker, admin: psycopg.Connection
) -> None:
    first = await admission.admit(desks[0], asker, named("replace"), key=None)
    entry = trail.entry(asker.tenant, actor=asker.actor, action="job.cancel", object="job")
    assert await transitions.lock(two.a, [first.job]) == {first.job: "queued"}
    await transitions.drop(two.a, first.job, entry)
    lease = timedelta(seconds=5)
    assert await transitions.dispatch(two.b, [first.job], lease) == []
    await two.a.commit()
    assert open_jobs(admin) == []


async def test_the_sweep_leaves_a_name_that_was_taken_meanwhile(
    two: Two, asker: Asker, desks: list[Desk], admin: psycopg.Connection
) -> None:
    made = await admission.admit(desks[0], asker, named("return", name="other"), key=None)
    admin.execute("INSERT INTO unique_key (tenant, name) VALUES (%s, 'nightly')", (asker.tenant,))
    await two.a.execute("UPDATE unique_key SET job = %s WHERE name = 'nightly'", (made.job,))
    late = asyncio.create_task(uniqueness.Sweep().step(two.b))
    await two.blocked(two.b)
    await two.a.commit()
    await late
    await two.b.commit()
    kept = admin.execute("SELECT job FROM unique_key WHERE name = 'nightly'").fetchone()
    assert kept == (made.job,)


async def test_one_idempotency_key_under_a_name_makes_one_job_over_processes(
    desks: list[Desk], asker: Asker, admin: psycopg.Connection
) -> None:
    for turn in range(5):
        calls = [
            admission.admit(desks[n % 3], asker, named("reject", name=f"n{turn}"), key=f"k{turn}")
            for n in range(30)
        ]
        ended = await asyncio.gather(*calls)
        assert Counter(one.outcome for one in ended) == {"created": 1, "replayed": 29}
    assert len(open_jobs(admin)) == 5
