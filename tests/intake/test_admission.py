"""Admission: the four answers to a key, the envelope, and what a refusal leaves behind: nothing."""

import asyncio
from datetime import timedelta
from typing import Any, cast

import psycopg
import pytest

from app.audit.trail import Actor
from app.budgets.errors import BudgetExhausted
from app.core import clock
from app.core.db import Database
from app.core.errors import Invalid
from app.core.ids import TenantId
from app.idempotency.errors import IdempotencyKeyReused
from app.intake import admission
from app.intake.admission import Admitted, Asker, Desk, JobSpec
from app.jobs import caps
from app.switches.errors import Disabled
from app.usage.errors import UnpricedModel
from app.workflows.errors import UnknownWorkflow
from tests.arrange import NOOP, make_tenant, make_workflow

TABLES = (
    "job",
    "job_event",
    "idempotency_record",
    "audit_entry",
    "audit_pending",
    "budget_account",
)
MODEL = {
    "name": "asks",
    "input": {"type": "object"},
    "steps": [{"id": "ask", "kind": "model", "prompt": "draft@1", "max_tokens": 100}],
    "output": "=steps.ask",
}


def counts(admin: psycopg.Connection) -> dict[str, int]:
    found = {}
    for table in TABLES:
        row = admin.execute(f"SELECT count(*) FROM {table}").fetchone()
        assert row is not None
        found[table] = row[0]
    return found


def spec(**fields: Any) -> JobSpec:
    return JobSpec("noop", {"n": 1}, **fields)


async def test_a_job_comes_with_its_event_record_and_audit_entry(
    desk: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    before = counts(admin)
    made = await admission.admit(desk, asker, spec(max_cost_nanousd=5_000), key="k1")
    assert made.outcome == "created"
    grown = {table: count - before[table] for table, count in counts(admin).items()}
    assert grown == dict.fromkeys(TABLES, 1)
    row = admin.execute("SELECT id, state, lane, version_number, event_seq FROM job").fetchone()
    assert row == (made.job, "queued", "standard", 1, 1)


async def test_the_same_key_and_intent_answer_with_the_first_job(desk: Desk, asker: Asker) -> None:
    """C008: the order of an input's names is no difference."""
    first = await admission.admit(desk, asker, JobSpec("noop", {"a": 1, "b": 2}), key="k")
    again = await admission.admit(desk, asker, JobSpec("noop", {"b": 2, "a": 1}), key="k")
    assert (again.job, again.outcome) == (first.job, "replayed")


@pytest.mark.parametrize(
    "other",
    [
        JobSpec("noop", {"n": 2}),
        spec(priority=9),
        spec(lane="batch"),
        spec(tags=("x",)),
        spec(metadata={"a": 1}),
    ],
)
async def test_another_intent_under_a_key_is_refused_and_stores_nothing(
    other: JobSpec, desk: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    """C008"""
    await admission.admit(desk, asker, spec(), key="k")
    before = counts(admin)
    with pytest.raises(IdempotencyKeyReused):
        await admission.admit(desk, asker, other, key="k")
    assert counts(admin) == before


async def test_a_key_is_its_tenants_own(
    desk: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    """C008"""
    other = make_tenant(admin, "other")
    make_workflow(admin, other)
    first = await admission.admit(desk, asker, spec(), key="k")
    second = await admission.admit(
        desk, Asker(other, None, Actor("operator", "x")), spec(), key="k"
    )
    assert first.job != second.job
    assert second.outcome == "created"


async def test_without_a_key_every_call_is_a_job(desk: Desk, asker: Asker) -> None:
    made = await asyncio.gather(*[admission.admit(desk, asker, spec(), key=None) for _ in range(5)])
    assert len({it.job for it in made}) == 5


async def test_a_key_is_forgotten_after_its_time(
    desk: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    first = await admission.admit(desk, asker, spec(), key="k")
    admin.execute("UPDATE idempotency_record SET expires_at = app_now()")
    again = await admission.admit(desk, asker, JobSpec("noop", {"n": 2}), key="k")
    assert again.outcome == "created"
    assert again.job != first.job
    row = admin.execute(
        "SELECT object, expires_at > app_now() + interval '23 hours' FROM idempotency_record"
    )
    assert row.fetchone() == (again.job, True)


async def test_one_group_holds_new_jobs_replays_and_conflicts_side_by_side(
    desk: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    calls = [admission.admit(desk, asker, spec(), key="same") for _ in range(10)]
    calls += [
        admission.admit(desk, asker, JobSpec("noop", {"n": 2}), key="same") for _ in range(10)
    ]
    calls += [admission.admit(desk, asker, spec(), key=f"k{n}") for n in range(10)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    made = [it for it in outcomes if isinstance(it, Admitted)]
    assert len({it.job for it in made[:10]}) == 1
    assert [it.outcome for it in made].count("created") == 11
    assert sum(isinstance(it, IdempotencyKeyReused) for it in outcomes) == 10
    assert counts(admin)["job"] == 11


async def test_a_job_for_later_waits_for_its_time_and_ranks_by_it(
    desk: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    when = clock.now() + timedelta(hours=1)
    await admission.admit(desk, asker, spec(run_at=when, priority=0), key=None)
    row = admin.execute(
        "SELECT state, wake_at = run_at, rank = run_at, queued_at FROM job"
    ).fetchone()
    assert row == ("scheduled", True, True, None)


async def test_a_step_of_priority_is_a_head_start_of_a_minute(
    desk: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    await admission.admit(desk, asker, spec(priority=2), key=None)
    row = admin.execute("SELECT created_at - rank FROM job").fetchone()
    assert row == (timedelta(minutes=2),)


async def test_an_envelope_without_room_is_refused_and_leaves_no_key(
    desk: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    admin.execute("UPDATE budget_account SET spent_nanousd = limit_nanousd")
    before = counts(admin)
    with pytest.raises(BudgetExhausted) as refusal:
        await admission.admit(desk, asker, spec(), key="k")
    assert refusal.value.context["budget"]["limit"] == "10"
    assert counts(admin) == before
    admin.execute("UPDATE budget_account SET spent_nanousd = 0")
    assert (await admission.admit(desk, asker, spec(), key="k")).outcome == "created"


async def test_a_replay_needs_no_room(desk: Desk, asker: Asker, admin: psycopg.Connection) -> None:
    first = await admission.admit(desk, asker, spec(), key="k")
    admin.execute("UPDATE budget_account SET spent_nanousd = limit_nanousd")
    again = await admission.admit(desk, asker, spec(), key="k")
    assert (again.job, again.outcome) == (first.job, "replayed")


async def test_a_model_without_a_price_is_refused(
    desk: Desk, asker: Asker, admin: psycopg.Connection, tenant: TenantId
) -> None:
    """C068 at admission."""
    make_workflow(admin, tenant, MODEL)
    before = counts(admin)
    with pytest.raises(UnpricedModel):
        await admission.admit(desk, asker, JobSpec("asks", {}), key="k")
    assert counts(admin) == before


async def test_what_does_not_fit_is_refused(
    desk: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    before = counts(admin)
    for wrong in (JobSpec("missing", {}), JobSpec("noop", {}, version=9)):
        with pytest.raises(UnknownWorkflow):
            await admission.admit(desk, asker, wrong, key="k")
    with pytest.raises(Invalid):
        await admission.admit(desk, asker, JobSpec("noop", cast(dict[str, Any], [])), key="k")
    assert counts(admin) == before


async def test_admission_can_be_switched_off(
    desk: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    admin.execute(
        "INSERT INTO switch (name, off, reason, set_by, set_at)"
        " VALUES ('admission', true, 'storm', 'op', app_now())"
    )
    with pytest.raises(Disabled):
        await admission.admit(desk, asker, spec(), key="k")


async def test_in_bulk_each_item_stands_for_itself(
    desk: Desk, asker: Asker, db: Database, admin: psycopg.Connection
) -> None:
    items = [(spec(), "a"), (JobSpec("missing", {}), "b"), (spec(), "a"), (spec(), None)]
    answers = await admission.admit_many(desk, asker, items)
    assert isinstance(answers[1], UnknownWorkflow)
    kinds = [it.outcome for it in answers if isinstance(it, Admitted)]
    assert sorted(kinds) == ["created", "created", "replayed"]
    assert counts(admin)["job"] == 2


async def test_a_job_keeps_what_its_definition_limits_and_stands_with_its_kind(
    desk: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    limited = NOOP | {"name": "limited", "concurrency": 3, "limits": [{"key": "crm-api", "max": 5}]}
    make_workflow(admin, asker.tenant, limited)
    for name in ("limited", "limited", "noop"):
        await admission.admit(desk, asker, JobSpec(name, {}), key=None)
    rows = admin.execute("SELECT limits, cap_group FROM job ORDER BY id").fetchall()
    kept = {"workflow": 3, "resource:crm-api": 5}
    assert [limits for limits, _ in rows] == [kept, kept, None]
    assert [group for _, group in rows] == [
        caps.group("limited", asker.key, kept), rows[0][1], caps.group("noop", asker.key, None),
    ]  # fmt: skip
    assert rows[0][1] != rows[2][1]
