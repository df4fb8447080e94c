"""Races for money: what a budget promises while many spend from it at once."""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import replace

import psycopg
import pytest

from app.attempts.errors import AttemptLost
from app.budgets import ledger
from app.budgets.errors import BudgetExhausted
from app.budgets.ledger import Held
from app.core.db import Database
from app.core.errors import Unavailable
from app.core.ids import TenantId
from tests.arrange import make_tenant
from tests.budgets import scene
from tests.budgets.scene import Spender
from tests.waiting import until

# Looks at every account at every commit: whoever passes a cap fails.
WATCH = """
CREATE FUNCTION refuse_overdraft() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'cap passed: % + % > %', NEW.spent_nanousd, NEW.held_nanousd, NEW.limit_nanousd; END $$;
CREATE CONSTRAINT TRIGGER watch AFTER UPDATE ON budget_account DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW WHEN (NEW.spent_nanousd + NEW.held_nanousd > NEW.limit_nanousd) EXECUTE FUNCTION refuse_overdraft()
"""


@pytest.fixture
async def spenders(db: Database, admin: psycopg.Connection) -> AsyncIterator[list[Spender]]:
    """Two ledgers with connections of their own, as two worker processes have them."""
    admin.execute(WATCH)
    price = scene.enter_price(admin)
    made = [Spender(ledger.open_ledger(db), price) for _ in range(2)]
    yield made
    for spender in made:
        await ledger.close(spender.ledger)


async def test_64_holds_race_one_budget_and_never_pass_it(
    spenders: list[Spender], admin: psycopg.Connection
) -> None:
    """Each settles at what it held or below, so room comes free again and again; then the cap is full."""
    tenant = make_tenant(admin, "tight", limit_nanousd=2_000)
    place = scene.begin(admin, tenant)
    rng = random.Random(7)  # noqa: S311 - the same run every time, no secret

    async def spend(number: int) -> int:
        where, asked = replace(place, turn=number), rng.randint(50, 150)
        spender = spenders[number % 2]
        try:
            hold = await spender.held(where, asked)
        except BudgetExhausted:
            return 0
        await spender.settle(hold, asked // 2)
        return asked // 2

    spent = sum(await asyncio.gather(*[spend(number) for number in range(64)]))

    assert 0 < spent <= 2_000
    assert scene.account(admin, tenant) == (spent, 0)
    scene.balanced(admin)


@pytest.mark.parametrize(("callers", "rounds"), [(5, 100), (50, 10)])
async def test_room_for_three_serves_three(
    spenders: list[Spender], admin: psycopg.Connection, callers: int, rounds: int
) -> None:
    """C066: remaining budget is never read first and spent later."""
    for round_ in range(rounds):
        tenant = make_tenant(admin, f"three-{round_}", limit_nanousd=450_000_000)
        place = scene.begin(admin, tenant)
        outcomes = await asyncio.gather(
            *[
                spenders[number % 2].hold(replace(place, turn=number), 150_000_000)
                for number in range(callers)
            ],
            return_exceptions=True,
        )
        assert sum(isinstance(one, Held) for one in outcomes) == 3
        refused = [one for one in outcomes if isinstance(one, BudgetExhausted)]
        assert len(refused) == callers - 3
        assert not any(one.final for one in refused)  # they may wait
        assert scene.account(admin, tenant) == (0, 450_000_000)


async def test_a_jobs_maximum_holds_while_its_parts_run_side_by_side(
    spenders: list[Spender], admin: psycopg.Connection, tenant: TenantId
) -> None:
    place = scene.begin(admin, tenant, max_cost_nanousd=1_000)
    outcomes = await asyncio.gather(
        *[spenders[item % 2].hold(replace(place, item=item), 300) for item in range(20)],
        return_exceptions=True,
    )
    assert sum(isinstance(one, Held) for one in outcomes) == 3
    assert scene.account(admin, tenant, "job") == scene.account(admin, tenant) == (0, 900)


@pytest.mark.parametrize("first", ["settle", "abandon"])
async def test_a_settlement_and_the_reaper_agree_whoever_comes_first(
    spenders: list[Spender], admin: psycopg.Connection, tenant: TenantId, db: Database,
    app_url: str, first: str,
) -> None:  # fmt: skip
    place = scene.begin(admin, tenant)
    hold = await spenders[0].held(place, 1_000)
    await spenders[0].settle(await spenders[0].held(replace(place, turn=1), 1), 0)  # both connected
    scene.end(admin, place)
    reaper = await db.connect_hot()

    async def abandon() -> int:
        async with reaper.transaction():
            return await ledger.abandon(reaper, [place.attempt])

    async with await psycopg.AsyncConnection.connect(app_url) as keeper:
        await keeper.execute("SELECT FROM reservation WHERE id = %s FOR UPDATE", (hold,))
        settling = asyncio.create_task(spenders[0].settle(hold, 700)) if first == "settle" else None
        if first == "settle":
            await until(lambda: _waiting(admin, 1))
        reaping = asyncio.create_task(abandon())
        await until(lambda: _waiting(admin, 2 if settling else 1))
        if settling is None:
            settling = asyncio.create_task(spenders[0].settle(hold, 700))
            await until(lambda: _waiting(admin, 2))
        await keeper.rollback()
    await settling
    await reaping
    await reaper.close()

    assert scene.account(admin, tenant) == (700, 0)
    costs = [line.cost_nanousd for line in scene.lines(admin) if line.call == hold]
    assert costs == ([700] if first == "settle" else [1_000, -300])
    scene.balanced(admin)


async def test_a_hold_that_races_the_end_of_its_attempt_is_refused(
    spenders: list[Spender], admin: psycopg.Connection, tenant: TenantId, superuser_url: str
) -> None:
    place = scene.begin(admin, tenant)
    with psycopg.connect(superuser_url) as reaper:
        scene.end(reaper, place)
        asking = asyncio.create_task(spenders[0].hold(place, 100))
        await until(lambda: _waiting(admin, 1))
    with pytest.raises(AttemptLost):
        await asking
    assert scene.account(admin, tenant) == (0, 0)


async def test_an_account_locked_too_long_lets_no_call_through_but_loses_no_settlement(
    spenders: list[Spender], admin: psycopg.Connection, tenant: TenantId, superuser_url: str
) -> None:
    place = scene.begin(admin, tenant)
    hold = await spenders[0].held(place, 100)
    with psycopg.connect(superuser_url) as keeper:
        keeper.execute("SELECT FROM budget_account WHERE tenant = %s FOR UPDATE", (tenant,))
        settling = asyncio.create_task(spenders[1].settle(hold, 70))
        with pytest.raises(Unavailable):
            await spenders[0].hold(replace(place, turn=1), 100)
    await settling
    assert scene.account(admin, tenant) == (70, 0)
    scene.balanced(admin)


async def test_accounts_are_their_entries_and_their_lines_after_crashes(
    spenders: list[Spender], admin: psycopg.Connection, tenant: TenantId, db: Database
) -> None:
    """C075: holds, settlements and releases under two ledgers, one in twenty left open by a crash for
    the reaper, and the ledgers' connections cut again and again; then everything is added up anew."""
    rng = random.Random(11)  # noqa: S311 - the same run every time, no secret
    tenants = [tenant, make_tenant(admin, "second")]
    places = [
        scene.begin(admin, rng.choice(tenants), max_cost_nanousd=rng.choice([None, 10_000_000]))
        for _ in range(20)
    ]
    crashed: list[ledger.Place] = []
    gate = asyncio.Semaphore(40)

    async def cycle(number: int) -> None:
        place = replace(rng.choice(places), item=number)
        spender, asked, fate = rng.choice(spenders), rng.randint(1, 5_000), rng.random()
        async with gate:
            hold = await spender.held(place, asked)
            if fate < 0.05:
                crashed.append(place)
            elif fate < 0.15:
                await ledger.release(spender.ledger, hold)
            elif fate < 0.25:
                await ledger.settle_unconfirmed(spender.ledger, hold)
                await spender.settle(hold, rng.randint(0, asked))
            else:
                await spender.settle(hold, rng.randint(0, asked), reply={"text": "x"})
            if number % 100 == 50:
                admin.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'towpath_app'"
                    " AND datname = current_database()"
                )

    await asyncio.gather(*[cycle(number) for number in range(1_000)])
    for place in crashed:
        scene.end(admin, place)
    reaper = await db.connect_hot()
    async with reaper.transaction():
        assert await ledger.abandon(reaper, [place.attempt for place in crashed]) == len(crashed)
    await reaper.close()

    assert crashed
    assert len([line for line in scene.lines(admin) if line.kind == "charge"]) > 800
    deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert admin.execute(deadlocks).fetchone() == (0,)
    assert all(scene.account(admin, one)[1] == 0 for one in tenants)
    scene.balanced(admin)


async def _waiting(admin: psycopg.Connection, count: int) -> bool:
    row = admin.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND wait_event_type = 'Lock'"
    ).fetchone()
    return row is not None and row[0] >= count
