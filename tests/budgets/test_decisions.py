"""The ledger's rules, pure."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.budgets import decisions
from app.budgets.decisions import Account, Ask, Hold
from app.core import ids
from app.core.ids import AccountId, HoldId

TENANT, JOB = AccountId(ids.new()), AccountId(ids.new())


def tenant(limit: int, *, spent: int = 0, held: int = 0, blocked: bool = False) -> Account:
    return Account(TENANT, "tenant", limit, spent, held, blocked)


def job(limit: int, *, spent: int = 0, held: int = 0) -> Account:
    return Account(JOB, "job", limit, spent, held, blocked=False)


def held(asked: int) -> Hold:
    return Hold(HoldId(ids.new()), (TENANT,), "held", asked)


def test_items_are_decided_in_order_of_arrival_on_what_the_earlier_left() -> None:
    asks = [Ask((TENANT,), asked) for asked in (60, 50, 40)]
    refusals, after = decisions.reserve({TENANT: tenant(100)}, asks)
    assert [refusal is None for refusal in refusals] == [True, False, True]
    assert after[TENANT].held_nanousd == 100


def test_all_accounts_have_room_or_none_is_charged() -> None:
    book = {TENANT: tenant(100), JOB: job(10)}
    (refusal,), after = decisions.reserve(book, [Ask((TENANT, JOB), 11)])
    assert refusal is not None
    assert refusal.account.kind == "job"
    assert after == book


def test_the_tightest_account_is_named() -> None:
    book = {TENANT: tenant(100, held=95), JOB: job(50, held=40)}
    (refusal,), _ = decisions.reserve(book, [Ask((TENANT, JOB), 20)])
    assert refusal is not None
    assert (refusal.account.kind, refusal.final) == ("tenant", False)


def test_more_than_the_cap_is_final_and_what_is_only_held_is_not() -> None:
    (over, wait), _ = decisions.reserve(
        {TENANT: tenant(100, spent=50)}, [Ask((TENANT,), 101), Ask((TENANT,), 60)]
    )
    assert over is not None
    assert wait is not None
    assert (over.final, wait.final) == (True, False)


def test_a_jobs_own_spend_never_comes_back() -> None:
    (spent, waits), _ = decisions.reserve(
        {JOB: job(100, spent=50, held=40)}, [Ask((JOB,), 51), Ask((JOB,), 50)]
    )
    assert spent is not None
    assert waits is not None
    assert (spent.final, waits.final) == (True, False)


def test_a_blocked_account_refuses_and_says_why() -> None:
    (refusal,), _ = decisions.reserve({TENANT: tenant(100, blocked=True)}, [Ask((TENANT,), 1)])
    assert refusal is not None
    assert (refusal.reason, refusal.final) == ("overrun", False)


def test_a_settlement_gives_the_hold_back_and_books_the_cost() -> None:
    hold, move = decisions.settle(held(100), 70)
    assert (hold.state, hold.cost_nanousd, hold.overrun) == ("settled", 70, False)
    assert move is not None
    assert (move.kind, move.held_nanousd, move.spent_nanousd, move.line) == (
        "settle",
        -100,
        70,
        "charge",
    )


def test_a_dearer_settlement_is_booked_in_full_and_marked() -> None:
    hold, move = decisions.settle(held(100), 130)
    assert move is not None
    assert (hold.overrun, move.spent_nanousd) == (True, 130)
    assert decisions.total([(hold, move)])[TENANT].overrun


def test_a_late_cost_corrects_what_was_presumed() -> None:
    presumed, _ = decisions.presume(held(100))
    assert (presumed.cost_nanousd, presumed.unconfirmed) == (100, True)
    settled, move = decisions.settle(presumed, 70)
    assert move is not None
    assert (move.kind, move.held_nanousd, move.spent_nanousd, move.line) == (
        "correct",
        0,
        -30,
        "correction",
    )
    assert not settled.unconfirmed


def test_a_late_proof_that_nothing_was_served_takes_the_presumed_cost_back() -> None:
    presumed, _ = decisions.presume(held(100))
    free, move = decisions.release(presumed)
    assert move is not None
    assert (free.cost_nanousd, move.spent_nanousd) == (0, -100)


def test_what_is_closed_stays_as_it_is() -> None:
    settled, _ = decisions.settle(held(100), 70)
    released, _ = decisions.release(held(100))
    assert decisions.settle(settled, 90) == (settled, None)
    assert decisions.release(settled) == (settled, None)
    assert decisions.presume(settled) == (settled, None)
    assert decisions.presume(released) == (released, None)
    assert decisions.release(released) == (released, None)


def test_a_cost_that_comes_after_a_release_is_booked_all_the_same() -> None:
    released, _ = decisions.release(held(100))
    settled, move = decisions.settle(released, 70)
    assert move is not None
    assert (settled.state, move.held_nanousd, move.spent_nanousd, move.line) == (
        "settled",
        0,
        70,
        "charge",
    )


@given(
    st.integers(0, 1000),
    st.integers(0, 1000),
    st.lists(st.tuples(st.integers(0, 300), st.booleans()), max_size=30),
)
def test_no_order_of_asks_passes_a_cap(
    tenant_limit: int, job_limit: int, wanted: list[tuple[int, bool]]
) -> None:
    book = {TENANT: tenant(tenant_limit), JOB: job(job_limit)}
    asks = [Ask((TENANT, JOB) if nested else (TENANT,), asked) for asked, nested in wanted]
    refusals, after = decisions.reserve(book, asks)
    granted = [ask for ask, refusal in zip(asks, refusals, strict=True) if refusal is None]
    for account in after.values():
        assert account.free_nanousd >= 0
        mine = [ask.asked_nanousd for ask in granted if account.id in ask.accounts]
        assert account.held_nanousd == sum(mine)
    for ask, refusal in zip(asks, refusals, strict=True):
        if refusal is not None:  # it was really short at that moment
            assert ask.asked_nanousd > refusal.account.free_nanousd
            assert refusal.account == replace(
                book[refusal.account.id], held_nanousd=refusal.account.held_nanousd
            )
