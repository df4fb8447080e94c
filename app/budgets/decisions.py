"""What the ledger decides, pure: on values read under the locks, item by item, in order of arrival."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from app.core.ids import AccountId, HoldId


@dataclass(frozen=True, slots=True)
class Account:
    """An account as it stands under its lock."""

    id: AccountId
    kind: Literal["tenant", "job"]
    limit_nanousd: int
    spent_nanousd: int
    held_nanousd: int
    blocked: bool  # by an overrun

    @property
    def free_nanousd(self) -> int:
        """What may still be held."""
        return self.limit_nanousd - self.spent_nanousd - self.held_nanousd


@dataclass(frozen=True, slots=True)
class Ask:
    """A hold that is wanted on all of these accounts."""

    accounts: tuple[AccountId, ...]
    asked_nanousd: int


@dataclass(frozen=True, slots=True)
class Refusal:
    """The account that has no room, as it stood. `final`: waiting can't make any."""

    account: Account
    reason: Literal["no_room", "overrun"]
    final: bool


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold as it stands under its lock."""

    id: HoldId
    accounts: tuple[AccountId, ...]
    state: Literal["held", "settled", "released"]
    asked_nanousd: int
    cost_nanousd: int | None = None
    unconfirmed: bool = False
    overrun: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """What closing a hold does to its accounts, and the usage line it makes."""

    kind: Literal["settle", "release", "correct"]
    held_nanousd: int
    spent_nanousd: int
    line: Literal["charge", "correction"] | None


@dataclass(frozen=True, slots=True)
class Change:
    """What is added to an account. `overrun`: some call cost more than was held for it."""

    held_nanousd: int
    spent_nanousd: int
    overrun: bool


_UNCHANGED = Change(0, 0, overrun=False)


def reserve(
    accounts: Mapping[AccountId, Account], asks: Sequence[Ask]
) -> tuple[list[Refusal | None], dict[AccountId, Account]]:
    """Decide each ask in order: all its accounts have room, or none is charged.

    Gives a refusal or None an ask, and the accounts as they stand afterwards.
    """
    standing = dict(accounts)
    decided = [_reserve(standing, ask) for ask in asks]
    return decided, standing


def _reserve(standing: dict[AccountId, Account], ask: Ask) -> Refusal | None:
    accounts = [standing[id_] for id_ in ask.accounts]
    refusals = [refusal for one in accounts if (refusal := _refusal(one, ask.asked_nanousd))]
    if refusals:  # the one that no waiting helps, else the tightest
        return min(refusals, key=lambda it: (not it.final, it.account.free_nanousd))
    for account in accounts:
        held = account.held_nanousd + ask.asked_nanousd
        standing[account.id] = replace(account, held_nanousd=held)
    return None


def _refusal(account: Account, asked_nanousd: int) -> Refusal | None:
    # A job's spend only grows; a tenant's account gets a new limit one day.
    spent = account.spent_nanousd if account.kind == "job" else 0
    final = asked_nanousd > account.limit_nanousd - spent
    if account.blocked:
        return Refusal(account, "overrun", final)
    return Refusal(account, "no_room", final) if asked_nanousd > account.free_nanousd else None


def settle(hold: Hold, cost_nanousd: int) -> tuple[Hold, Move | None]:
    """The call's true cost is known: book it in full, or correct what was booked without knowing it."""
    overrun = cost_nanousd > hold.asked_nanousd
    settled = replace(
        hold, state="settled", cost_nanousd=cost_nanousd, unconfirmed=False, overrun=overrun
    )
    match hold:
        case Hold(state="held"):
            return settled, Move("settle", -hold.asked_nanousd, cost_nanousd, "charge")
        case Hold(state="released"):  # taken back too early: what was spent was spent
            return settled, Move("settle", 0, cost_nanousd, "charge")
        case Hold(unconfirmed=True, cost_nanousd=int(booked)):
            return settled, Move("correct", 0, cost_nanousd - booked, "correction")
        case _:
            return hold, None


def release(hold: Hold) -> tuple[Hold, Move | None]:
    """The request was certainly not served: give the hold back, or what was booked for it."""
    match hold:
        case Hold(state="held"):
            return replace(hold, state="released"), Move("release", -hold.asked_nanousd, 0, None)
        case Hold(unconfirmed=True, cost_nanousd=int(booked)):
            free = replace(hold, cost_nanousd=0, unconfirmed=False)
            return free, Move("correct", 0, -booked, "correction")
        case _:
            return hold, None


def presume(hold: Hold) -> tuple[Hold, Move | None]:
    """Nobody knows what the call cost: book the hold itself, unconfirmed."""
    if hold.state != "held":
        return hold, None
    booked = replace(hold, state="settled", cost_nanousd=hold.asked_nanousd, unconfirmed=True)
    return booked, Move("settle", -hold.asked_nanousd, hold.asked_nanousd, "charge")


def total(moves: Iterable[tuple[Hold, Move]]) -> dict[AccountId, Change]:
    """What moves come to, an account each."""
    changes: dict[AccountId, Change] = {}
    for hold, move in moves:
        for id_ in hold.accounts:
            before = changes.get(id_, _UNCHANGED)
            changes[id_] = Change(
                before.held_nanousd + move.held_nanousd,
                before.spent_nanousd + move.spent_nanousd,
                before.overrun or hold.overrun,
            )
    return changes
