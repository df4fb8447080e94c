"""Unique keys: of the jobs that a tenant gives one name, one at a time. Beside idempotency, which is about requests.

A name is held by its job as long as that is open, and within its window whatever became of it. What
happens to a second one is its own to say: it is refused, answered with the first, or it replaces the
first if no worker has had that. Admissions with a name take a longer way, in one transaction: the names
are locked first, then looked at, so that whoever waited for a lock sees what the other has committed.
"""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import psycopg

from app.audit import trail
from app.core import ids, statements
from app.core.ids import JobId, TenantId
from app.jobs import transitions

IDLE: Final = ("scheduled", "queued")  # no worker has begun: may be replaced
PAGE: Final = 5_000  # names that a sweep looks at

_HOLD: Final = statements.load(__file__, "hold_names")
_HELD: Final = statements.load(__file__, "held_names")
_TAKE: Final = statements.load(__file__, "take_names")
_ANSWERED: Final = statements.load(__file__, "answered_by")
_SWEEP: Final = statements.load(__file__, "sweep_names")

Connection = psycopg.AsyncConnection[Any]
Policy = Literal["reject", "return", "replace"]
Decision = Literal["go", "existing", "duplicate", "replace"]
Admit = Callable[[Connection, Sequence[dict[str, Any]]], Awaitable[list[Any]]]


@dataclass(frozen=True, slots=True)
class Unique:
    """A job's name, how long it is kept beyond the job's end, and what becomes of a second job."""

    name: str
    window_seconds: int | None = None
    policy: Policy = "return"


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of an item that made no job: `job` is the one that holds its name."""

    job: JobId
    outcome: Literal["existing", "duplicate"]
    at: datetime


@dataclass(frozen=True, slots=True)
class Held:
    """Who has a name. `known`: the item's own idempotency key has an answer already."""

    job: JobId | None
    state: str | None  # None: it was never made, or is gone
    ended: bool
    windowed: bool
    known: bool
    at: datetime


def wish(unique: Unique, actor: trail.Actor) -> dict[str, Any]:
    """What an item of admission carries of its name, and who would replace another's job."""
    return asdict(unique) | {"actor": asdict(actor)}


def decide(policy: Policy, held: Held, job: JobId) -> Decision:
    """What becomes of an item, by its policy and by who has its name."""
    if held.known or held.state is None or held.job == job:
        return "go"  # a replay; a free name; this very item, sent again
    if held.ended and (not held.windowed or policy == "replace"):
        return "go"
    match policy:
        case "return":
            return "existing"
        case "replace" if held.state in IDLE:
            return "replace"
        case _:
            return "duplicate"


async def admit(
    connection: Connection, items: Sequence[dict[str, Any]], admit_all: Admit, kept: Any
) -> list[Any]:
    """Admit a group in which some items have a name. `admit_all` admits those that may go.

    Locks the names in order, then the jobs that are to be replaced, by id.
    """
    answers: dict[int, Any] = {}
    waiting = list(range(len(items)))
    async with connection.transaction():
        await _hold(connection, [items[n] for n in waiting if items[n].get("unique")])
        while waiting:
            going, replaced, later = await _round(connection, items, waiting, answers)
            rows = await admit_all(connection, [items[n] for n in going])
            made = []
            for n, row in zip(going, rows, strict=True):
                answers[n] = row
                if row.outcome == "created" and items[n].get("unique"):
                    made.append(items[n])
                    if n in replaced:
                        await _replace(connection, items[n], replaced[n])
            if made:
                await connection.execute(
                    _TAKE.raw, {"items": json.dumps([_wire(it) for it in made])}
                )
            waiting = later
        settled = [
            _wire(items[n]) | {"object": str(answer.job)}
            for n, answer in answers.items()
            if isinstance(answer, Settled) and answer.outcome == "existing" and items[n]["intent"]
        ]
        if settled:
            bind = {"items": json.dumps(settled), "kept": kept}
            await connection.execute(_ANSWERED.raw, bind)
    return [answers[n] for n in range(len(items))]


async def _round(
    connection: Connection,
    items: Sequence[dict[str, Any]],
    waiting: Sequence[int],
    answers: dict[int, Any],
) -> tuple[list[int], dict[int, JobId], list[int]]:
    """Who may go now, whom they replace, and who must look again: of one name one goes at a time."""
    held = await _look(connection, items, waiting)
    going, later = [], []
    replaced: dict[int, JobId] = {}
    taken: set[tuple[str, str]] = set()
    for n in waiting:
        wanted = items[n].get("unique")
        if wanted is None:
            going.append(n)
            continue
        name = (items[n]["tenant"], wanted["name"])
        decision = decide(wanted["policy"], held[n], JobId(UUID(items[n]["job"])))
        holder = held[n].job
        if decision in ("existing", "duplicate"):
            assert holder is not None  # noqa: S101 - decide lets a free name go
            answers[n] = Settled(holder, decision, held[n].at)
        elif name in taken:
            later.append(n)
        else:
            taken.add(name)
            going.append(n)
            if decision == "replace" and holder is not None:
                replaced[n] = holder
    for n in await _begun(connection, replaced):
        going.remove(n)
        answers[n] = Settled(replaced.pop(n), "duplicate", held[n].at)
    return going, replaced, later


async def _hold(connection: Connection, items: Sequence[dict[str, Any]]) -> None:
    await connection.execute(_HOLD.raw, {"items": json.dumps([_wire(item) for item in items])})


async def _look(
    connection: Connection, items: Sequence[dict[str, Any]], waiting: Sequence[int]
) -> dict[int, Held]:
    asked = [_wire(items[n]) | {"n": n} for n in waiting if items[n].get("unique")]
    if not asked:
        return {}
    cursor = await connection.execute(_HELD.raw, {"items": json.dumps(asked)})
    return {n: Held(*found) for n, *found in await cursor.fetchall()}


async def _begun(connection: Connection, replaced: dict[int, JobId]) -> list[int]:
    """Those whose holder a worker has got meanwhile. The others' holders stay as they are: they are locked."""
    if not replaced:
        return []
    states = await transitions.lock(connection, sorted(replaced.values()))
    return [n for n, holder in replaced.items() if states.get(holder) not in IDLE]


async def _replace(connection: Connection, item: dict[str, Any], holder: JobId) -> None:
    wanted = item["unique"]
    entry = trail.entry(
        TenantId(UUID(item["tenant"])), actor=trail.Actor(**wanted["actor"]), action="job.cancel",
        object=ids.wire("job", holder), after={"status": "cancelled"},
        reason=f"replaced by {ids.wire('job', UUID(item['job']))}, of the same unique key",
    )  # fmt: skip
    await transitions.drop(connection, holder, entry)


def _wire(item: dict[str, Any]) -> dict[str, Any]:
    wanted = item["unique"]
    return {
        "tenant": item["tenant"], "name": wanted["name"], "job": item["job"],
        "seconds": wanted["window_seconds"], "route": item["route"], "intent": item["intent"],
        "fingerprint": item["fingerprint"],
    }  # fmt: skip


class Sweep:
    """Forgets names that nobody holds any more, a page at a time, round and round."""

    def __init__(self) -> None:
        self._last: tuple[UUID, str] = (UUID(int=0), "")

    async def step(self, connection: Connection, page: int = PAGE) -> None:
        """Look at the next page."""
        bind = {"tenant": self._last[0], "name": self._last[1], "page": page}
        row = await (await connection.execute(_SWEEP.raw, bind)).fetchone()
        self._last = (UUID(int=0), "") if row is None else (row.tenant, row.name)
