"""The ledger: a hold before each paid call, its settlement or release after it, in grouped commits.

Every way out of a call closes its hold. What dies in between is closed by the reaper (`abandon`), and
what even that misses by `sweep`.
"""

import asyncio
import json
import random
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, TypeVar

import psycopg
import structlog

from app.attempts.errors import AttemptLost
from app.budgets import _groups
from app.budgets._groups import Closing, Connection, Replied, Reserved, Wanted
from app.budgets.decisions import Hold, Refusal
from app.budgets.errors import AccountUnknown, BudgetExhausted, HoldUnknown
from app.core import backoff, ids, statements
from app.core.db import Database
from app.core.errors import Unavailable
from app.core.groupcommit import GroupCommit
from app.core.ids import AttemptId, HoldId, JobId, KeyId, TenantId
from app.usage import pricing
from app.usage.pricing import Price, Tokens

_OPEN_OF_ATTEMPTS: Final = statements.load(__file__, "open_of_attempts")
_ORPHANS: Final = statements.load(__file__, "orphans")
_PRUNE: Final = statements.load(__file__, "prune")

# A worker that outlived its attempt still brings the true cost within a call's time-out.
ORPHAN_GRACE: Final = timedelta(minutes=15)

# How long a settlement is tried again while the database is away: a restart, a failover.
CLOSING_PATIENCE: Final = timedelta(seconds=60)
_PAUSE: Final = timedelta(milliseconds=200)

_log = structlog.get_logger(__name__)

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


@dataclass(frozen=True, slots=True)
class Labels:
    """What usage is reported by."""

    key: KeyId | None
    workflow: str
    workflow_version: int
    lane: str
    end_user: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where in which job a call is made, and who pays. The same over attempts, but for the attempt."""

    tenant: TenantId
    job: JobId
    attempt: AttemptId
    step: str
    labels: Labels
    item: int = 0
    turn: int = 0

    @property
    def effect_key(self) -> str:
        """The key of what is bought here: a resumed step finds it again."""
        return f"{self.job.hex}:{self.step}:{self.item}:{self.turn}"


@dataclass(frozen=True, slots=True)
class Held:
    """Money set aside: the call may be made."""

    hold: HoldId
    asked_nanousd: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """The call was made and paid before: its reply."""

    reply: dict[str, Any]


@dataclass(slots=True)
class Ledger:
    """The ledger of one process: its groups, and the closings that outlive their callers."""

    db: Database
    holds: GroupCommit[Wanted, Reserved]
    closings: GroupCommit[Closing, Hold | None]
    outliving: set["asyncio.Task[Any]"] = field(default_factory=set)
    rng: random.Random = field(default_factory=random.Random)


def open_ledger(db: Database) -> Ledger:
    """A ledger on this database; nothing is connected yet."""
    return Ledger(
        db,
        GroupCommit(_groups.reserve, db),
        GroupCommit(_groups.close, db, weigh=lambda it: len(it.reply or "")),
    )


async def close(ledger: Ledger) -> None:
    """Wait for what is in flight, also for what its caller no longer waits for."""
    while ledger.outliving:
        await asyncio.wait(ledger.outliving)
    await ledger.holds.close()
    await ledger.closings.close()


async def reserve(
    ledger: Ledger,
    place: Place,
    *,
    provider: str,
    model: str,
    price: Price,
    input_bound_tokens: int,
    max_output_tokens: int,
    hold: HoldId,
) -> Held | Recorded:
    """Set aside the most this call can cost, on the tenant's account and on the job's own if it has one.

    `hold` is made by the caller, one a provider call: asked again, it is the same hold. Recorded: the
    effect was bought before, nothing is held. Raises AttemptLost, BudgetExhausted, AccountUnknown,
    Unavailable. Cancelled while it waits: what was held after all is released.
    """
    asked = pricing.ceiling_nanousd(price, input_bound_tokens, max_output_tokens)
    wanted = Wanted(
        hold=hold, tenant=place.tenant, job=place.job, attempt=place.attempt, step=place.step,
        effect_key=place.effect_key, labels=_labels(place.labels), provider=provider, model=model,
        price=price.id, input_bound_tokens=input_bound_tokens, max_output_tokens=max_output_tokens,
        asked_nanousd=asked,
    )  # fmt: skip
    try:
        outcome = await _submit(ledger.holds, wanted)
    except asyncio.CancelledError:
        _ = _outlive(ledger, _give_back(ledger, wanted))
        raise
    match outcome:
        case "held":
            return Held(hold, asked)
        case Replied(reply):
            return Recorded(reply)
        case "lost":
            raise AttemptLost
        case "no_account":
            raise AccountUnknown(tenant=ids.wire("ten", place.tenant))
        case Refusal(account, reason, final):
            raise BudgetExhausted(
                account=account.kind, reason=reason, asked_nanousd=asked, final=final,
                limit_nanousd=account.limit_nanousd, spent_nanousd=account.spent_nanousd,
                held_nanousd=account.held_nanousd,
            )  # fmt: skip


async def settle(
    ledger: Ledger,
    hold: HoldId,
    *,
    cost_nanousd: int,
    tokens: Tokens,
    estimated: bool,
    latency_ms: int,
    reply: dict[str, Any] | None,
) -> Hold:
    """Book what a call cost, its usage line, and its reply under the effect key, in one commit.

    More than was held is booked in full, marked `overrun`, and blocks the accounts. A hold that was
    closed without knowing the cost is corrected. Runs to its end also where the caller is cancelled.
    """
    text = json.dumps(reply) if reply is not None else None
    return await _close(
        ledger, Closing(hold, "settle", cost_nanousd, tokens, estimated, latency_ms, text)
    )


async def release(ledger: Ledger, hold: HoldId) -> Hold:
    """Give a hold back: its request was certainly not served. Runs to its end also where cancelled."""
    return await _close(ledger, Closing(hold, "release"))


async def settle_unconfirmed(ledger: Ledger, hold: HoldId) -> Hold:
    """Book a hold as what its call cost, since nobody knows better. Runs to its end also where cancelled."""
    return await _close(ledger, Closing(hold, "presume"))


async def abandon(connection: Connection, attempts: Sequence[AttemptId]) -> int:
    """Book what these ended attempts left open at the hold, unconfirmed, in the caller's transaction.

    Gives how many. Locks the reservations, then the accounts: after jobs and attempts, in order.
    """
    cursor = await connection.execute(_OPEN_OF_ATTEMPTS.raw, {"attempts": list(attempts)})
    return await _presume(connection, await cursor.fetchall())


async def sweep(
    connection: Connection, *, grace: timedelta = ORPHAN_GRACE, batch: int = 200
) -> int:
    """Book open holds of attempts that ended `grace` ago at the hold, unconfirmed. Gives how many.

    For what no other way closed: a worker that lost the database between a call and its settlement.
    Safe to run twice.
    """
    async with connection.transaction():
        cursor = await connection.execute(_ORPHANS.raw, {"grace": grace, "batch": batch})
        return await _presume(connection, await cursor.fetchall())


async def prune(connection: Connection, steps: Sequence[tuple[JobId, str, int]]) -> None:
    """Forget the replies of recorded steps, (job, step, item) each, in the caller's transaction."""
    bind = {
        "jobs": [job for job, _, _ in steps],
        "prefixes": [f"{job.hex}:{step}:{item}:" for job, step, item in steps],
    }
    await connection.execute(_PRUNE.raw, bind)


async def _presume(connection: Connection, rows: Sequence[Any]) -> int:
    closings = [Closing(HoldId(row[0]), "presume") for row in rows]
    return len(await _groups.close_within(connection, closings)) if closings else 0


async def _close(ledger: Ledger, closing: Closing) -> Hold:
    try:
        hold = await _insist(ledger, closing)
    except asyncio.CancelledError:
        # It may be on its way or not: closed again, it is closed once.
        await asyncio.shield(_outlive(ledger, _insist(ledger, closing)))
        raise
    if hold is None:
        raise HoldUnknown(hold=str(closing.hold))
    return hold


async def _insist(ledger: Ledger, closing: Closing) -> Hold | None:
    """Close a hold over an outage: the money is spent, and the reply is worth waiting for."""
    end = time.monotonic() + CLOSING_PATIENCE.total_seconds()
    tries = 0
    while True:
        try:
            return await _submit(ledger.closings, closing)
        except Unavailable:
            if time.monotonic() > end:
                raise
            tries += 1
            pause = backoff.delay(tries, base=_PAUSE, cap=10 * _PAUSE, rng=ledger.rng)
            await asyncio.sleep(pause.total_seconds())


async def _submit(group: GroupCommit[Item, Outcome], item: Item) -> Outcome:
    try:
        return await group.submit(item)
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
        raise Unavailable("The ledger is locked for too long.", retry_after=1) from error


async def _give_back(ledger: Ledger, wanted: Wanted) -> None:
    # Asked for again, after the first in the same queue: what the first found is known then.
    if await _submit(ledger.holds, wanted) == "held":
        await _insist(ledger, Closing(wanted.hold, "release"))


def _outlive(ledger: Ledger, work: Coroutine[Any, Any, Outcome]) -> "asyncio.Task[Outcome]":
    """A task that runs to its end whoever waits for it; `close` waits for it too."""
    task = asyncio.create_task(work)
    ledger.outliving.add(task)
    task.add_done_callback(lambda done: _outlived(ledger, done))
    return task


def _outlived(ledger: Ledger, task: "asyncio.Task[Any]") -> None:
    ledger.outliving.discard(task)
    if (
        not task.cancelled() and task.exception() is not None
    ):  # the reaper closes the hold, or the sweep
        _log.warning("closing_failed", error=type(task.exception()).__name__)


def _labels(labels: Labels) -> dict[str, Any]:
    return {
        "key": str(labels.key) if labels.key is not None else None, "workflow": labels.workflow,
        "workflow_version": labels.workflow_version, "lane": labels.lane,
        "end_user": labels.end_user, "tags": list(labels.tags),
    }  # fmt: skip
