"""Unique keys: of the jobs of one name, one at a time; what becomes of the second is its own to say."""

import json
from datetime import timedelta

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import clock, ids
from app.core.db import Database
from app.core.ids import JobId, TenantId
from app.idempotency.errors import IdempotencyKeyReused
from app.intake import admission, uniqueness
from app.intake.admission import Asker, Desk, JobSpec
from app.intake.errors import DuplicateJob
from app.intake.uniqueness import Held, Policy, Unique
from app.jobs import states
from tests.arrange import make_listener, make_tenant, make_workflow


def named(policy: Policy = "return", window: int | None = None, n: int = 0) -> JobSpec:
    return JobSpec("noop", {"n": n}, unique=Unique("nightly", window, policy))


async def post(
    desk: Desk, asker: Asker, spec: JobSpec, key: str | None = None
) -> admission.Admitted:
    return await admission.admit(desk, asker, spec, key=key)


def set_state(admin: psycopg.Connection, job: JobId, state: str) -> None:
    ended = clock.now() if state in states.TERMINAL else None
    admin.execute(
        "UPDATE job SET state = %(state)s, finished_at = %(ended)s, started_at = app_now(),"
        " current_attempt = CASE WHEN %(state)s IN ('running', 'dispatched') THEN uuidv7() END,"
        " waiting_for = CASE WHEN %(state)s = 'waiting' THEN 'backoff' END WHERE id = %(job)s",
        {"state": state, "ended": ended, "job": job},
    )


def states_of(admin: psycopg.Connection) -> list[str]:
    return [state for (state,) in admin.execute("SELECT state FROM job ORDER BY id").fetchall()]


@given(
    state=st.sampled_from((None, *states.STATES)), windowed=st.booleans(),
    policy=st.sampled_from(("reject", "return", "replace")),
)  # fmt: skip
def test_no_second_job_while_the_first_is_open(
    state: str | None, windowed: bool, policy: Policy
) -> None:
    held = Held(
        JobId(ids.new()), state, state in states.TERMINAL, windowed, known=False, at=clock.now()
    )
    decision = uniqueness.decide(policy, held, JobId(ids.new()))
    if state is None:
        assert decision == "go"
    elif state in states.OPEN:
        assert decision != "go"
        assert (decision == "replace") == (policy == "replace" and state in ("scheduled", "queued"))
    elif policy != "replace":
        assert (decision == "go") == (not windowed)


async def test_the_second_is_answered_with_the_first_until_that_ends(
    desk: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    first = await post(desk, asker, named())
    second = await post(desk, asker, named(n=2))
    assert (second.job, second.outcome) == (first.job, "existing")
    for state in ("dispatched", "running", "waiting"):
        set_state(admin, first.job, state)
        assert (await post(desk, asker, named())).outcome == "existing"
    set_state(admin, first.job, "failed")
    third = await post(desk, asker, named(n=3))
    assert third.outcome == "created"
    assert admin.execute("SELECT count(*) FROM job").fetchone() == (2,)


async def test_a_window_outlasts_the_job(
    desk: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    first = await post(desk, asker, named(window=3_600))
    set_state(admin, first.job, "succeeded")
    assert (await post(desk, asker, named(window=3_600))).outcome == "existing"
    with pytest.raises(DuplicateJob):
        await post(desk, asker, named("reject"))
    admin.execute("UPDATE unique_key SET held_until = app_now() - interval '1 second'")
    assert (await post(desk, asker, named("reject"))).outcome == "created"


async def test_a_refused_second_names_the_first_and_leaves_nothing(
    desk: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    first = await post(desk, asker, named("reject"))
    with pytest.raises(DuplicateJob) as refused:
        await post(desk, asker, named("reject", n=2), key="again")
    assert refused.value.context == {"job": ids.wire("job", first.job)}
    for table in ("job", "job_event", "audit_entry"):
        assert admin.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,)
    assert admin.execute("SELECT count(*) FROM idempotency_record").fetchone() == (0,)


@pytest.mark.parametrize("state", ["queued", "scheduled"])
async def test_a_job_that_nobody_has_begun_is_replaced_in_one_commit(
    desk: Desk, asker: Asker, admin: psycopg.Connection, state: str
) -> None:
    make_listener(admin, asker.tenant)
    first = await post(desk, asker, named("replace"))
    admin.execute("UPDATE job SET state = %s, wake_at = app_now()", (state,))
    second = await post(desk, asker, named("replace", n=2))
    assert second.outcome == "created"
    assert states_of(admin) == ["cancelled", "queued"]
    events = admin.execute("SELECT name FROM job_event WHERE job = %s ORDER BY seq", (first.job,))
    assert [name for (name,) in events.fetchall()] == ["job.queued", "job.cancelled"]
    posted = admin.execute("SELECT name, subject FROM outbox_event").fetchall()
    assert posted == [("job.cancelled", first.job)]
    (told,) = admin.execute("SELECT body FROM audit_entry WHERE action = 'job.cancel'").fetchall()
    body = json.loads(told[0])
    assert body["object"] == ids.wire("job", first.job)
    assert body["request_id"] == asker.request_id
    assert ids.wire("job", second.job) in body["reason"]


@pytest.mark.parametrize("state", ["dispatched", "running", "waiting"])
async def test_a_job_that_was_begun_is_not_replaced(
    desk: Desk, asker: Asker, admin: psycopg.Connection, state: str
) -> None:
    first = await post(desk, asker, named("replace"))
    set_state(admin, first.job, state)
    with pytest.raises(DuplicateJob):
        await post(desk, asker, named("replace"))
    assert states_of(admin) == [state]


async def test_a_job_is_not_cancelled_for_one_that_is_refused(
    desk: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    await post(desk, asker, named("replace"))
    admin.execute("UPDATE budget_account SET spent_nanousd = limit_nanousd")
    with pytest.raises(Exception, match=r"budget|Budget|room"):
        await post(desk, asker, named("replace"))
    assert states_of(admin) == ["queued"]
    admin.execute("UPDATE budget_account SET spent_nanousd = 0")
    assert (await post(desk, asker, named())).outcome == "existing"


async def test_an_idempotency_key_goes_before_a_unique_key(
    desk: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    first = await post(desk, asker, named("reject"), key="one")
    again = await post(desk, asker, named("reject"), key="one")
    assert (again.job, again.outcome) == (first.job, "replayed")
    with pytest.raises(IdempotencyKeyReused):
        await post(desk, asker, named("return"), key="one")


async def test_what_was_answered_with_the_first_is_so_for_good(
    desk: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    first = await post(desk, asker, named())
    second = await post(desk, asker, named(n=2), key="two")
    set_state(admin, first.job, "succeeded")
    again = await post(desk, asker, named(n=2), key="two")
    assert (second.outcome, again.outcome) == ("existing", "replayed")
    assert second.job == again.job == first.job


async def test_names_are_their_tenants_own(
    desk: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    other = make_tenant(admin, "other")
    make_workflow(admin, other)
    mine = await post(desk, asker, named("reject"))
    theirs = await post(desk, Asker(other, None, asker.actor), named("reject"))
    assert (mine.outcome, theirs.outcome) == ("created", "created")


async def test_a_group_of_one_name_makes_one_job_and_its_neighbours_go_on(
    desk: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    specs = [(named(n=n), None) for n in range(20)] + [(JobSpec("noop", {}), None)] * 5
    ended = await admission.admit_many(desk, asker, specs)
    outcomes = [one.outcome for one in ended if isinstance(one, admission.Admitted)]
    assert outcomes == ["created"] + ["existing"] * 19 + ["created"] * 5
    assert admin.execute("SELECT count(*) FROM job").fetchone() == (6,)


async def test_of_a_group_that_replaces_the_last_one_stays(
    desk: Desk, asker: Asker, admin: psycopg.Connection
) -> None:
    ended = await admission.admit_many(
        desk, asker, [(named("replace", n=n), None) for n in range(5)]
    )
    assert [type(one).__name__ for one in ended] == ["Admitted"] * 5
    queued = admin.execute("SELECT input FROM job WHERE state = 'queued'").fetchall()
    assert queued == [({"n": 4},)]
    assert sorted(states_of(admin)) == ["cancelled"] * 4 + ["queued"]


async def test_names_that_nobody_holds_are_forgotten(
    desk: Desk, asker: Asker, admin: psycopg.Connection, db: Database, tenant: TenantId
) -> None:
    for name, window in (("open", None), ("over", None), ("kept", 3_600), ("late", 3_600)):
        spec = JobSpec("noop", {"name": name}, unique=Unique(name, window))
        made = await post(desk, asker, spec)
        if name != "open":
            set_state(admin, made.job, "succeeded")
    admin.execute("UPDATE unique_key SET held_until = app_now() - %s WHERE name = 'late'", (
        timedelta(seconds=1),
    ))  # fmt: skip
    admin.execute("INSERT INTO unique_key (tenant, name) VALUES (%s, 'never')", (tenant,))
    sweep = uniqueness.Sweep()
    async with await db.connect_hot() as connection:
        for _ in range(6):
            await sweep.step(connection, page=2)
    left = admin.execute("SELECT name FROM unique_key ORDER BY name").fetchall()
    assert left == [("kept",), ("open",)]
