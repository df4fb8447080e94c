"""Holds and settlements on a real database."""

import asyncio
from dataclasses import replace

import psycopg
import pytest
from psycopg.rows import tuple_row

from app.attempts.errors import AttemptLost
from app.budgets import ledger
from app.budgets.errors import AccountUnknown, BudgetExhausted, HoldUnknown
from app.budgets.ledger import Held, Recorded
from app.core import ids
from app.core.db import Database
from app.core.errors import Unavailable
from app.core.ids import HoldId, TenantId
from app.usage.pricing import Tokens
from tests.arrange import make_tenant
from tests.budgets import scene
from tests.budgets.scene import Spender
from tests.waiting import until


async def test_a_hold_is_set_aside_and_its_settlement_is_one_line(
    spender: Spender, admin: psycopg.Connection, tenant: TenantId
) -> None:
    place = scene.begin(admin, tenant, max_cost_nanousd=5_000)
    hold = await spender.held(place, 1_000)
    assert scene.account(admin, tenant) == (0, 1_000)
    assert scene.account(admin, tenant, "job") == (0, 1_000)

    await spender.settle(hold, 700, reply={"text": "ten"})

    assert scene.account(admin, tenant) == scene.account(admin, tenant, "job") == (700, 0)
    (line,) = scene.lines(admin)
    assert (line.call, line.kind, line.cost_nanousd, line.output_tokens) == (
        hold,
        "charge",
        700,
        700,
    )
    assert (line.job, line.attempt, line.step, line.workflow) == (
        place.job, place.attempt, "draft", "noop",
    )  # fmt: skip
    assert line.at == scene.reservation(admin, hold)["made_at"]
    scene.balanced(admin)


async def test_a_resumed_step_finds_what_was_bought_before(
    spender: Spender, admin: psycopg.Connection, tenant: TenantId
) -> None:
    place = scene.begin(admin, tenant)
    await spender.settle(await spender.held(place, 1_000), 700, reply={"text": "ten"})

    again = await spender.hold(scene.resume(admin, place), 1_000)

    assert again == Recorded({"text": "ten"})
    assert scene.account(admin, tenant) == (700, 0)


async def test_the_reply_goes_when_its_step_is_recorded(
    spender: Spender, admin: psycopg.Connection, tenant: TenantId, db: Database
) -> None:
    place = scene.begin(admin, tenant)
    other = replace(place, item=1)
    for where in (place, replace(place, turn=1), other):
        await spender.settle(await spender.held(where, 10), 7, reply={"text": "ten"})
    connection = await db.connect_hot()

    await ledger.prune(connection, [(place.job, place.step, 0)])

    await connection.close()
    left = [row[0] for row in admin.execute("SELECT key FROM effect").fetchall()]
    assert left == [other.effect_key]


async def test_a_hold_asked_for_again_is_the_same_hold(
    spender: Spender, admin: psycopg.Connection, tenant: TenantId
) -> None:
    place, hold = scene.begin(admin, tenant), HoldId(ids.new())
    first = await spender.hold(place, 1_000, hold)
    again = await spender.hold(place, 1_000, hold)
    assert first == again == Held(hold, 1_000)
    assert scene.account(admin, tenant) == (0, 1_000)


async def test_a_hold_asked_for_twice_in_one_group_is_made_once(
    spender: Spender, admin: psycopg.Connection, tenant: TenantId
) -> None:
    place, hold = scene.begin(admin, tenant), HoldId(ids.new())
    outcomes = await asyncio.gather(*[spender.hold(place, 1_000, hold) for _ in range(4)])
    assert outcomes == [Held(hold, 1_000)] * 4
    assert scene.account(admin, tenant) == (0, 1_000)


async def test_an_attempt_that_ended_holds_nothing(
    spender: Spender, admin: psycopg.Connection, tenant: TenantId
) -> None:
    place = scene.begin(admin, tenant)
    scene.end(admin, place)
    with pytest.raises(AttemptLost):
        await spender.hold(place, 1_000)
    assert scene.account(admin, tenant) == (0, 0)


async def test_a_refusal_names_the_account_and_charges_none(
    spender: Spender, admin: psycopg.Connection, tenant: TenantId
) -> None:
    place = scene.begin(admin, tenant, max_cost_nanousd=500)
    with pytest.raises(BudgetExhausted) as caught:
        await spender.hold(place, 501)
    assert caught.value.final
    assert caught.value.need_nanousd == 501
    assert caught.value.context["budget"] == {
        "account": "job", "limit": "0.0000005", "spent": "0", "held": "0", "asked": "0.000000501",
    }  # fmt: skip
    assert scene.account(admin, tenant) == (0, 0)


async def test_a_tenant_without_an_account_spends_nothing(
    spender: Spender, admin: psycopg.Connection
) -> None:
    bare = make_tenant(admin, "bare")
    admin.execute("DELETE FROM budget_account WHERE tenant = %s", (bare,))
    with pytest.raises(AccountUnknown):
        await spender.hold(scene.begin(admin, bare), 1)


async def test_a_tenant_never_pays_from_anothers_account(
    spender: Spender, admin: psycopg.Connection, tenant: TenantId
) -> None:
    rich, poor = tenant, make_tenant(admin, "poor", limit_nanousd=10)
    places = [scene.begin(admin, rich), scene.begin(admin, poor)]
    outcomes = await asyncio.gather(
        *[spender.hold(place, 100) for place in places], return_exceptions=True
    )
    assert isinstance(outcomes[0], Held)
    assert isinstance(outcomes[1], BudgetExhausted)
    assert (scene.account(admin, rich), scene.account(admin, poor)) == ((0, 100), (0, 0))


async def test_a_release_gives_everything_back_and_meters_nothing(
    spender: Spender, admin: psycopg.Connection, tenant: TenantId
) -> None:
    place = scene.begin(admin, tenant, max_cost_nanousd=5_000)
    await ledger.release(spender.ledger, await spender.held(place, 1_000))
    assert scene.account(admin, tenant) == scene.account(admin, tenant, "job") == (0, 0)
    assert scene.lines(admin) == []
    scene.balanced(admin)


async def test_what_nobody_knows_is_booked_at_the_hold_and_corrected_later(
    spender: Spender, admin: psycopg.Connection, tenant: TenantId
) -> None:
    hold = await spender.held(scene.begin(admin, tenant), 1_000)
    await ledger.settle_unconfirmed(spender.ledger, hold)
    assert scene.account(admin, tenant) == (1_000, 0)

    await spender.settle(hold, 700, reply={"text": "late"})

    assert scene.account(admin, tenant) == (700, 0)
    charge, correction = scene.lines(admin)
    assert (charge.unconfirmed, charge.cost_nanousd, charge.output_tokens) == (True, 1_000, 0)
    assert (correction.kind, correction.cost_nanousd, correction.output_tokens) == (
        "correction",
        -300,
        700,
    )
    assert admin.execute("SELECT count(*) FROM effect").fetchone() == (0,)
    scene.balanced(admin)


async def test_an_overrun_is_booked_in_full_and_blocks_the_account(
    spender: Spender, admin: psycopg.Connection, tenant: TenantId
) -> None:
    place = scene.begin(admin, tenant)
    await spender.settle(await spender.held(place, 1_000), 1_500)
    assert scene.account(admin, tenant) == (1_500, 0)
    with pytest.raises(BudgetExhausted) as caught:
        await spender.hold(replace(place, turn=1), 1)
    assert caught.value.context["reason"] == "overrun"
    assert not caught.value.final
    scene.balanced(admin)


async def test_settling_twice_is_settling_once(
    spender: Spender, admin: psycopg.Connection, tenant: TenantId
) -> None:
    hold = await spender.held(scene.begin(admin, tenant), 1_000)
    await asyncio.gather(*[spender.settle(hold, 700) for _ in range(3)])
    await ledger.release(spender.ledger, hold)
    assert scene.account(admin, tenant) == (700, 0)
    assert len(scene.lines(admin)) == 1
    scene.balanced(admin)


async def test_presumed_and_settled_in_one_group_are_both_booked(
    spender: Spender, admin: psycopg.Connection, tenant: TenantId
) -> None:
    hold = await spender.held(scene.begin(admin, tenant), 1_000)
    await asyncio.gather(ledger.settle_unconfirmed(spender.ledger, hold), spender.settle(hold, 700))
    assert scene.account(admin, tenant) == (700, 0)
    assert [line.cost_nanousd for line in scene.lines(admin)] == [1_000, -300]
    scene.balanced(admin)


async def test_an_unknown_hold_is_an_error(spender: Spender) -> None:
    with pytest.raises(HoldUnknown):
        await ledger.release(spender.ledger, HoldId(ids.new()))


async def test_a_reply_that_the_database_refuses_fails_alone(
    spender: Spender, admin: psycopg.Connection, tenant: TenantId
) -> None:
    """One settlement with a NUL in its reply shares a group with good ones."""
    place = scene.begin(admin, tenant)
    holds = [await spender.held(replace(place, turn=turn), 10) for turn in range(3)]
    outcomes = await asyncio.gather(
        spender.settle(holds[0], 7, reply={"text": "a"}),
        spender.settle(holds[1], 7, reply={"text": "\x00"}),
        spender.settle(holds[2], 7, reply={"text": "c"}),
        return_exceptions=True,
    )
    assert isinstance(outcomes[1], psycopg.DataError)
    assert scene.account(admin, tenant) == (14, 10)
    scene.balanced(admin)


async def test_the_reaper_books_what_an_attempt_left_open(
    spender: Spender, admin: psycopg.Connection, tenant: TenantId, db: Database
) -> None:
    place, other = scene.begin(admin, tenant), scene.begin(admin, tenant)
    left = [await spender.held(replace(place, turn=turn), 100) for turn in range(2)]
    await spender.settle(await spender.held(replace(place, turn=2), 100), 50)
    alive = await spender.held(other, 100)
    scene.end(admin, place)
    connection = await db.connect_hot()
    connection.row_factory = tuple_row  # as a connection of SQLAlchemy's gives them

    async with connection.transaction():
        assert await ledger.abandon(connection, [place.attempt]) == 2
    assert await ledger.abandon(connection, [place.attempt]) == 0

    await connection.close()
    assert scene.account(admin, tenant) == (250, 100)
    assert all(scene.reservation(admin, hold)["unconfirmed"] for hold in left)
    assert scene.reservation(admin, alive)["state"] == "held"
    scene.balanced(admin)


async def test_the_sweep_finds_what_every_other_way_missed(
    spender: Spender, admin: psycopg.Connection, tenant: TenantId, db: Database
) -> None:
    place, running = scene.begin(admin, tenant), scene.begin(admin, tenant)
    await spender.held(place, 100)
    await spender.held(running, 100)
    scene.end(admin, place)
    connection = await db.connect_hot()
    assert await ledger.sweep(connection) == 0
    await connection.execute("SELECT set_config('towpath.clock_offset', '16 min', false)")
    assert await ledger.sweep(connection) == 1
    await connection.close()
    assert scene.account(admin, tenant) == (100, 100)
    scene.balanced(admin)


async def test_a_caller_cancelled_while_it_waits_for_its_hold_leaves_none(
    spender: Spender, admin: psycopg.Connection, tenant: TenantId, superuser_url: str
) -> None:
    place = scene.begin(admin, tenant)
    with psycopg.connect(superuser_url) as keeper:
        keeper.execute("SELECT FROM budget_account WHERE tenant = %s FOR UPDATE", (tenant,))
        asking = asyncio.create_task(spender.hold(place, 1_000))
        await until(lambda: _blocked(admin), what="the hold waits for the account")
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
    await ledger.close(spender.ledger)
    assert scene.account(admin, tenant) == (0, 0)
    (state,) = admin.execute("SELECT state FROM reservation WHERE asked_nanousd = 1000").fetchall()
    assert state == ("released",)


async def test_a_caller_cancelled_while_it_settles_has_settled(
    spender: Spender, admin: psycopg.Connection, tenant: TenantId
) -> None:
    hold = await spender.held(scene.begin(admin, tenant), 1_000)
    settling = asyncio.create_task(spender.settle(hold, 700))
    await asyncio.sleep(0)
    settling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await settling
    assert scene.account(admin, tenant) == (700, 0)


async def test_a_ledger_out_of_reach_lets_nothing_through(
    db: Database, spender: Spender, admin: psycopg.Connection, tenant: TenantId
) -> None:
    nowhere = Database("postgresql://towpath_app@127.0.0.1:1/none", db.engine, db.sessions)
    deaf = ledger.open_ledger(nowhere)
    with pytest.raises(Unavailable):
        await Spender(deaf, spender.price).hold(scene.begin(admin, tenant), 1)
    await ledger.close(deaf)


async def test_a_step_costs_all_of_its_calls(
    spender: Spender, admin: psycopg.Connection, tenant: TenantId
) -> None:
    """C070: a call that broke off, one whose answer was no use, and a good one: all three count."""
    place = scene.begin(admin, tenant)
    broken = await spender.held(place, 1_000)
    await ledger.settle_unconfirmed(spender.ledger, broken)
    for output, reply in ((80, None), (60, {"text": "good"})):
        hold = await spender.held(place, 1_000)
        await ledger.settle(
            spender.ledger, hold, cost_nanousd=50 + output, tokens=Tokens(input=50, output=output),
            estimated=False, latency_ms=5, reply=reply,
        )  # fmt: skip
    costs = [line.cost_nanousd for line in scene.lines(admin)]
    assert costs == [1_000, 130, 110]
    assert scene.account(admin, tenant) == (sum(costs), 0)
    assert await spender.hold(place, 1) == Recorded({"text": "good"})
    scene.balanced(admin)


async def _blocked(admin: psycopg.Connection) -> bool:
    row = admin.execute(
        "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ).fetchone()
    return row is not None
