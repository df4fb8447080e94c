"""What began and what is done of keyed and unsafe calls, in grouped commits: the only writer of tool_call.

A row says that a call began before it is made, and what came back once it is there. What died in
between left a row that began and didn't end: a keyed call is made again under its key, an unsafe one
is in doubt.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import statements
from app.core.db import Database
from app.core.groupcommit import GroupCommit
from app.core.ids import AttemptId, JobId, TenantId, ToolCallId
from app.tools.models import ToolCall

_BEGIN = statements.load(__file__, "begin")
_FOUND = statements.load(__file__, "found")
_END = statements.load(__file__, "end")
_PRUNE = statements.load(__file__, "prune")

Connection = psycopg.AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Begin:
    """A call that is about to be made. `call` is made by the caller: sent again, it is the same."""

    key: str
    tenant: TenantId
    job: JobId
    attempt: AttemptId
    call: ToolCallId
    step: str
    item: int
    tool: str
    version: str
    effect: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Begun:
    """It may be made now; `tries` counts the calls under its key, with this one."""

    tries: int


@dataclass(frozen=True, slots=True)
class Done:
    """It was made before: what came back, or why that was refused."""

    result: Any
    error: dict[str, Any] | None


# What becomes of a call that wants to begin; in doubt: an unsafe one began before and has no outcome.
Beginning = Begun | Done | Literal["lost", "in doubt"]


@dataclass(frozen=True, slots=True)
class End:
    """A call's outcome. `void`: it had no effect. Else `result`, or the `error` for which that is refused."""

    key: str
    call: ToolCallId
    void: bool = False
    result: Any = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Effects:
    """The groups of one process."""

    begins: GroupCommit[Begin, Beginning]
    ends: GroupCommit[End, None]

    async def close(self) -> None:
        """Wait for what is in flight."""
        await self.begins.close()
        await self.ends.close()


def open_effects(db: Database) -> Effects:
    """Groups on this database; nothing is connected yet."""
    return Effects(
        GroupCommit(_begin, db, weigh=lambda it: len(str(it.arguments))),
        GroupCommit(_end, db, weigh=lambda it: len(str(it.result))),
    )


async def prune(connection: Connection, steps: Sequence[tuple[JobId, str, int]]) -> None:
    """Forget the calls of recorded steps, (job, step, item) each, in the caller's transaction."""
    jobs, names, items = zip(*steps, strict=True)
    bind = {"jobs": list(jobs), "steps": list(names), "items": list(items)}
    await connection.execute(_PRUNE.raw, bind)


async def in_doubt(session: AsyncSession, job: JobId) -> Sequence[ToolCall]:
    """The unsafe calls of a job that began and have no outcome, oldest first. For a job that no attempt has."""
    query = select(ToolCall).where(
        ToolCall.job == job, ToolCall.effect == "unsafe", ToolCall.ended_at.is_(None)
    )
    return (await session.scalars(query.order_by(ToolCall.begun_at, ToolCall.key))).all()


async def declare(session: AsyncSession, key: str, result: Any) -> None:
    """A person says that the call was made, with this result: the step reads it."""
    done = update(ToolCall).where(ToolCall.key == key)
    await session.execute(done.values(result={"value": result}, ended_at=func.app_now()))


async def forget(session: AsyncSession, key: str) -> None:
    """A person says that the call had no effect: it may be made again."""
    await session.execute(delete(ToolCall).where(ToolCall.key == key))


async def _begin(connection: Connection, items: Sequence[Begin]) -> list[Beginning]:
    rows = [
        {
            "key": it.key, "tenant": str(it.tenant), "job": str(it.job), "attempt": str(it.attempt),
            "call": str(it.call), "step": it.step, "item": it.item, "tool": it.tool, "version": it.version,
            "effect": it.effect, "arguments": it.arguments,
        }
        for it in items
    ]  # fmt: skip
    async with connection.pipeline(), connection.transaction():
        fenced = await connection.execute(_BEGIN.raw, {"items": json.dumps(rows)})
        found = await connection.execute(_FOUND.raw, {"keys": [it.key for it in items]})
        alive = {row.attempt for row in await fenced.fetchall()}
        standing = {row.key: row for row in await found.fetchall()}
    return [_beginning(it, alive, standing.get(it.key)) for it in items]


def _beginning(item: Begin, alive: set[Any], row: Any) -> Beginning:
    if item.attempt not in alive:
        return "lost"
    if row.ended:
        return Done(None if row.result is None else row.result["value"], row.error)
    return Begun(row.tries) if row.call == item.call else "in doubt"


async def _end(connection: Connection, items: Sequence[End]) -> list[None]:
    rows = [
        {
            "key": it.key, "call": str(it.call), "void": it.void, "error": it.error,
            # In an object of its own: the JSON null is a result too.
            "result": {"value": it.result} if it.error is None and not it.void else None,
        }
        for it in items
    ]  # fmt: skip
    await connection.execute(_END.raw, {"items": json.dumps(rows)})
    return [None] * len(items)
