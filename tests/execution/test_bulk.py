"""Cancel and retry by filter: whose jobs, which, and none twice after a crash."""

from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from app.attempts.errors import AttemptLost
from app.core import ids
from app.core.ids import JobId, TenantId
from app.execution import runner
from app.execution.steps import bulk as step
from app.jobs import bulk, transitions
from app.workflows import versions
from tests.arrange import make_jobs, make_tenant, make_workflow
from tests.execution.conftest import Shop

OPEN: dict[str, dict[str, Any]] = {
    "scheduled": {"state": "scheduled", "wake_at": "infinity", "queued_at": None},
    "queued": {},
    "waiting": {"state": "waiting", "waiting_for": "backoff", "wake_at": "infinity"},
}


def shipped(name: str) -> dict[str, Any]:
    return next(one for one in versions.shipped() if one["name"] == name)


def sweep(shop: Shop, name: str, **narrow: str) -> JobId:
    """A bulk job, admitted after all that was made before it."""
    return shop.job(shipped(f"towpath.{name}"), {"filter": narrow})


def states(admin: psycopg.Connection, jobs: Sequence[JobId]) -> list[str]:
    rows = admin.execute("SELECT state FROM job WHERE id = ANY (%s) ORDER BY id", (list(jobs),))
    return [state for (state,) in rows.fetchall()]


async def test_every_open_state_is_covered_and_only_what_fits(
    shop: Shop, admin: psycopg.Connection, tenant: TenantId
) -> None:
    version = make_workflow(admin, tenant)
    wanted = [
        job
        for columns in OPEN.values()
        for job in make_jobs(admin, tenant, version, 2, tags=["nightly"], **columns)
    ]
    [dispatched, running] = make_jobs(admin, tenant, version, 2, tags=["nightly"])
    done = make_jobs(
        admin, tenant, version, 2, tags=["nightly"], state="succeeded", started_at="now",
        finished_at="now",
    )  # fmt: skip
    others = make_jobs(admin, tenant, version, 2, tags=["daily"])
    stranger = make_tenant(admin, "stranger")
    theirs = make_jobs(admin, stranger, make_workflow(admin, stranger), 2, tags=["nightly"])
    async with await shop.runtime.db.connect_hot() as connection:
        items = await transitions.dispatch(
            connection, [dispatched, running], shop.runtime.leases.dispatch
        )
        [item] = [one for one in items if one.job == running]
        await shop.runtime.claims.submit((running, item.attempt))
    job = sweep(shop, "cancel", tag="nightly")
    later = make_jobs(admin, tenant, version, 1, tags=["nightly"])
    await shop.run(job)
    assert shop.state(job, "output") == (
        "succeeded", {"matched": 8, "cancelled": 7, "stopping": 1, "skipped": 0},
    )  # fmt: skip
    assert states(admin, [*wanted, dispatched]) == ["cancelled"] * 7
    assert shop.state(running, "cancel_requested_at IS NOT NULL") == ("running", True)
    assert states(admin, [*done, *others, *theirs, *later]) == (["succeeded"] * 2 + ["queued"] * 5)
    told = admin.execute(
        "SELECT count(*) FROM audit_entry WHERE action = 'job.cancel' AND body LIKE %s",
        (f"%by filter, {ids.wire('job', job)}%",),
    ).fetchone()
    assert told == (8,)
    ended = admin.execute("SELECT outcome FROM attempt WHERE job = %s", (dispatched,)).fetchone()
    assert ended == ("cancelled",)


async def test_the_platforms_own_jobs_fit_only_a_filter_that_names_them(
    shop: Shop, admin: psycopg.Connection, tenant: TenantId
) -> None:
    first = sweep(shop, "retry", status="failed")
    plain = make_jobs(admin, tenant, make_workflow(admin, tenant), 1)
    job = sweep(shop, "cancel", lane="standard")
    await shop.run(job)
    assert (states(admin, [first]), states(admin, plain)) == (["queued"], ["cancelled"])
    version = admin.execute(
        "SELECT id FROM workflow_version WHERE workflow = 'towpath.cancel'"
    ).fetchone()
    assert version is not None
    [named] = make_jobs(
        admin, tenant, version[0], workflow="towpath.cancel",
        input=psycopg.types.json.Jsonb({"filter": {"workflow": "towpath.retry"}}),
    )  # fmt: skip
    await shop.run(named)
    assert states(admin, [first]) == ["cancelled"]


async def test_failed_and_expired_jobs_are_replayed_by_their_error(
    shop: Shop, admin: psycopg.Connection, tenant: TenantId
) -> None:
    version = make_workflow(admin, tenant)
    ended: dict[str, Any] = {"state": "failed", "finished_at": "now", "failures": 3}
    busy = psycopg.types.json.Jsonb({"code": "provider_failed", "message": "busy"})
    wrong = psycopg.types.json.Jsonb({"code": "step_failed", "message": "no"})
    passing = make_jobs(admin, tenant, version, 3, error=busy, **ended)
    permanent = make_jobs(admin, tenant, version, 2, error=wrong, **ended)
    job = sweep(shop, "retry", status="failed", error_code="provider_failed")
    await shop.run(job)
    assert shop.state(job, "output") == ("succeeded", {"matched": 3, "retried": 3, "skipped": 0})
    assert states(admin, [*passing, *permanent]) == ["queued"] * 3 + ["failed"] * 2
    assert shop.state(passing[0], "run", "failures", "error") == ("queued", 2, 0, None)


@pytest.mark.parametrize("broken", [AttemptLost("gone"), psycopg.OperationalError("gone")])
async def test_a_crash_between_batches_counts_no_job_twice(
    broken: Exception,
    shop: Shop,
    admin: psycopg.Connection,
    tenant: TenantId,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The batch that was cut off is taken back whole; what was committed is not looked at again."""
    monkeypatch.setattr(step, "BATCH", 10)
    jobs = make_jobs(admin, tenant, make_workflow(admin, tenant), 35)
    job = sweep(shop, "cancel", workflow="noop")
    real, calls = bulk.cancel, 0

    async def cut_off(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        counts = await real(*arguments)
        if calls == 3:
            raise broken
        return counts

    monkeypatch.setattr(bulk, "cancel", cut_off)
    item = await shop.dispatch(job)
    await runner.run(shop.runtime, item.job, item.attempt)
    if isinstance(broken, AttemptLost):  # the worker is gone: another takes the job up
        assert states(admin, jobs).count("cancelled") == 20
        assert shop.state(job, "progress->'done'", "progress->'total'") == ("running", 20, 35)
        admin.execute("UPDATE attempt SET state = 'ended', outcome = 'lost', ended_at = now()")
        admin.execute(
            "UPDATE job SET state = 'queued', current_attempt = NULL WHERE id = %s", (job,)
        )
        await shop.run(job)
    assert shop.state(job, "output") == (
        "succeeded", {"matched": 35, "cancelled": 35, "stopping": 0, "skipped": 0},
    )  # fmt: skip
    assert calls == 5
    assert states(admin, jobs) == ["cancelled"] * 35
    events = admin.execute("SELECT count(*) FROM job_event WHERE name = 'job.cancelled'").fetchone()
    assert events == (35,)


async def test_what_ended_meanwhile_is_skipped(
    shop: Shop, admin: psycopg.Connection, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = make_jobs(admin, tenant, make_workflow(admin, tenant), 3)
    job = sweep(shop, "cancel", workflow="noop")
    real = bulk.matching

    async def found(*arguments: Any, **more: Any) -> list[JobId]:
        answer = await real(*arguments, **more)
        admin.execute(
            "UPDATE job SET state = 'expired', finished_at = now() WHERE id = %s", (jobs[1],)
        )
        return answer

    monkeypatch.setattr(bulk, "matching", found)
    await shop.run(job)
    assert shop.state(job, "output") == (
        "succeeded", {"matched": 3, "cancelled": 2, "stopping": 0, "skipped": 1},
    )  # fmt: skip
