"""The ledger's grouped transactions: lock in order, decide by decisions.py, write once."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

import psycopg
from psycopg.rows import namedtuple_row

from app.budgets import decisions
from app.budgets.decisions import Account, Ask, Change, Hold, Move, Refusal
from app.core import statements
from app.core.ids import AccountId, AttemptId, HoldId, JobId, PriceId, TenantId
from app.usage import meter
from app.usage.pricing import Tokens

Connection = psycopg.AsyncConnection[Any]

NO_TOKENS: Final = Tokens(input=0, output=0)  # of an unconfirmed call: not known, so not invented

_PLANS: Final = statements.load(__file__, "plans")
_FENCE: Final = statements.load(__file__, "fence")
_ACCOUNTS_FOR: Final = statements.load(__file__, "accounts_for")
_EARLIER: Final = statements.load(__file__, "earlier")
_RESERVE: Final = statements.load(__file__, "reserve")
_HOLDS: Final = statements.load(__file__, "holds")
_CLOSE: Final = statements.load(__file__, "close")
_POST: Final = statements.load(__file__, "post")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A hold that is asked for."""

    hold: HoldId
    tenant: TenantId
    job: JobId
    attempt: AttemptId
    step: str
    effect_key: str
    labels: dict[str, Any]
    provider: str
    model: str
    price: PriceId
    input_bound_tokens: int
    max_output_tokens: int
    asked_nanousd: int


@dataclass(frozen=True, slots=True)
class Closing:
    """A hold that is to be closed, and what is known of its call. `reply` is JSON text."""

    hold: HoldId
    how: Literal["settle", "release", "presume"]
    cost_nanousd: int = 0
    tokens: Tokens = NO_TOKENS
    estimated: bool = False
    latency_ms: int = 0
    reply: str | None = None


@dataclass(frozen=True, slots=True)
class Replied:
    """The effect was bought before: its reply."""

    reply: dict[str, Any]


# What becomes of a wanted hold: it is there, it isn't needed, the attempt is over, or a refusal.
Reserved = Literal["held", "lost", "no_account"] | Replied | Refusal


async def reserve(connection: Connection, items: Sequence[Wanted]) -> list[Reserved]:
    """Make holds: one transaction, one outcome an item."""
    async with connection.pipeline(), connection.transaction():
        await connection.execute(_PLANS.raw)
        fenced = await connection.execute(_FENCE.raw, {"attempts": [it.attempt for it in items]})
        bind = {"tenants": [it.tenant for it in items], "jobs": [it.job for it in items]}
        locked = await connection.execute(_ACCOUNTS_FOR.raw, bind)
        # A statement of its own: its snapshot is taken after the lock was won.
        bind = {"holds": [it.hold for it in items], "keys": [it.effect_key for it in items]}
        earlier = await connection.execute(_EARLIER.raw, bind)
        alive = {row.id for row in await fenced.fetchall()}
        rows = await locked.fetchall()
        before = await earlier.fetchall()
        outcomes, made, standing = _decide(items, alive, rows, before)
        if made:
            holds = json.dumps([_hold_row(it, on) for it, on in made])
            touched = {id_ for _, on in made for id_ in on}
            sums = [{"id": str(id_), "held": standing[id_].held_nanousd} for id_ in touched]
            await connection.execute(_RESERVE.raw, {"holds": holds, "accounts": json.dumps(sums)})
    return outcomes


def _decide(
    items: Sequence[Wanted], alive: set[UUID], rows: Sequence[Any], before: Sequence[Any]
) -> tuple[list[Reserved], list[tuple[Wanted, tuple[AccountId, ...]]], dict[AccountId, Account]]:
    of_tenant = {row.tenant: row.id for row in rows if row.kind == "tenant"}
    of_job = {row.job: row.id for row in rows if row.kind == "job"}
    accounts = {row.id: _account(row) for row in rows}
    known = {row.hold for row in before if row.hold is not None}
    replies = {row.key: row.reply for row in before if row.key is not None}

    outcomes: dict[HoldId, Reserved] = {}
    asking: list[tuple[Wanted, tuple[AccountId, ...]]] = []
    for item in items:
        if item.attempt not in alive:
            outcomes[item.hold] = "lost"
        elif item.effect_key in replies:
            outcomes[item.hold] = Replied(replies[item.effect_key])
        elif item.hold in known:
            outcomes[item.hold] = "held"
        elif item.tenant not in of_tenant:
            outcomes[item.hold] = "no_account"
        else:
            own = (of_job[item.job],) if item.job in of_job else ()
            asking.append((item, (of_tenant[item.tenant], *own)))

    asks = [Ask(on, item.asked_nanousd) for item, on in asking]
    refusals, standing = decisions.reserve(accounts, asks)
    made = []
    for (item, on), refusal in zip(asking, refusals, strict=True):
        outcomes[item.hold] = refusal or "held"
        if refusal is None:
            made.append((item, on))
    return [outcomes[item.hold] for item in items], made, standing


async def close(connection: Connection, items: Sequence[Closing]) -> list[Hold | None]:
    """Close holds in a transaction of their own; the hold as it stands then, None where none was made."""
    async with connection.pipeline(), connection.transaction():
        await connection.execute(_PLANS.raw)
        return await close_within(connection, items)


async def close_within(connection: Connection, items: Sequence[Closing]) -> list[Hold | None]:
    """Close holds in the caller's transaction. Locks the reservations, then the accounts, in id order."""
    bind = {"holds": [it.hold for it in items]}
    rows = {row.id: row for row in await _rows(connection, _HOLDS.raw, bind)}
    holds = {id_: _hold(row) for id_, row in rows.items()}
    moves: list[tuple[Closing, Hold, Move]] = []
    for item in items:
        if item.hold not in holds:
            continue
        holds[item.hold], move = _closed(holds[item.hold], item)
        if move is not None:
            moves.append((item, holds[item.hold], move))
    if moves:
        await _write(connection, rows, moves)
    return [holds.get(item.hold) for item in items]


def _closed(hold: Hold, item: Closing) -> tuple[Hold, Move | None]:
    match item.how:
        case "settle":
            return decisions.settle(hold, item.cost_nanousd)
        case "release":
            return decisions.release(hold)
        case "presume":
            return decisions.presume(hold)


async def _write(
    connection: Connection, rows: dict[HoldId, Any], moves: Sequence[tuple[Closing, Hold, Move]]
) -> None:
    last = {item.hold: hold for item, hold, _ in moves}
    entries = [
        {"account": str(id_), "hold": str(hold.id), "kind": move.kind,
         "held": move.held_nanousd, "spent": move.spent_nanousd}
        for _, hold, move in moves
        for id_ in hold.accounts
    ]  # fmt: skip
    # A late correction leaves no reply: the job has gone on without it, perhaps with another.
    effects = {
        rows[item.hold].effect_key: _effect_row(rows[item.hold], item)
        for item, _, move in moves
        if item.reply is not None and move.kind == "settle"
    }
    bind = {
        "holds": json.dumps([_closed_row(hold) for hold in last.values()]),
        "entries": json.dumps(entries),
        "effects": json.dumps(list(effects.values())),
    }
    await connection.execute(_CLOSE.raw, bind)
    lines = [_line(rows[item.hold], item, move) for item, _, move in moves if move.line is not None]
    if lines:
        await meter.write(connection, lines)
    # The accounts last: nothing that takes time stands between their lock and the commit.
    changes = decisions.total((hold, move) for _, hold, move in moves)
    sums = json.dumps([_change_row(id_, change) for id_, change in changes.items()])
    await connection.execute(_POST.raw, {"accounts": sums})


async def _rows(connection: Connection, query: str, bind: dict[str, Any]) -> list[Any]:
    # The caller's connection may give plain tuples.
    async with connection.cursor(row_factory=namedtuple_row) as cursor:
        await cursor.execute(query, bind)
        return await cursor.fetchall()


def _account(row: Any) -> Account:
    return Account(
        row.id, row.kind, row.limit_nanousd, row.spent_nanousd, row.held_nanousd, row.blocked
    )


def _hold(row: Any) -> Hold:
    return Hold(
        row.id, tuple(row.accounts), row.state, row.asked_nanousd, row.cost_nanousd,
        row.unconfirmed, row.overrun,
    )  # fmt: skip


def _hold_row(item: Wanted, accounts: tuple[AccountId, ...]) -> dict[str, Any]:
    return {
        "id": str(item.hold), "tenant": str(item.tenant), "job": str(item.job),
        "attempt": str(item.attempt), "step": item.step, "effect_key": item.effect_key,
        "accounts": [str(id_) for id_ in accounts], "labels": item.labels,
        "provider": item.provider, "model": item.model, "price": str(item.price),
        "input_bound_tokens": item.input_bound_tokens, "max_output_tokens": item.max_output_tokens,
        "asked": item.asked_nanousd,
    }  # fmt: skip


def _closed_row(hold: Hold) -> dict[str, Any]:
    return {
        "id": str(hold.id), "state": hold.state, "cost": hold.cost_nanousd,
        "unconfirmed": hold.unconfirmed, "overrun": hold.overrun,
    }  # fmt: skip


def _change_row(account: AccountId, change: Change) -> dict[str, Any]:
    return {
        "id": str(account), "held": change.held_nanousd, "spent": change.spent_nanousd,
        "overrun": change.overrun,
    }  # fmt: skip


def _effect_row(row: Any, item: Closing) -> dict[str, Any]:
    return {
        "key": row.effect_key, "tenant": str(row.tenant), "job": str(row.job), "hold": str(row.id),
        "reply": item.reply,
    }  # fmt: skip


def _line(row: Any, item: Closing, move: Move) -> meter.Line:
    assert move.line is not None  # noqa: S101 - for the type checker: the caller has looked
    return meter.Line(
        tenant=row.tenant, call=row.id, kind=move.line, at=row.made_at, job=row.job,
        attempt=row.attempt, step=row.step, labels=row.labels, provider=row.provider,
        model=row.model, price=row.price, tokens=item.tokens, estimated=item.estimated,
        unconfirmed=item.how == "presume", cost_nanousd=move.spent_nanousd,
        latency_ms=item.latency_ms,
    )  # fmt: skip
