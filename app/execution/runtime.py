"""What a worker process runs jobs with. Opened once, in the worker's event loop."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import psycopg

from app.attempts.config import LeaseConfig
from app.attempts.leases import Holdings
from app.budgets import ledger
from app.budgets.ledger import Ledger
from app.core import ids
from app.core.db import Database
from app.core.groupcommit import HASTY, GroupCommit
from app.core.ids import AttemptId, JobId, TenantId, VersionId, WorkerId
from app.core.recent import Recent
from app.execution.config import ExecutionConfig
from app.files.store import Store
from app.jobs import transitions
from app.jobs.transitions import Claimed, End, Note, Noted
from app.llm.gateway import Gateway
from app.retrieval.embedding import Embedder
from app.tools import effects
from app.tools.calling import Toolbox
from app.workflows import checkpoints, definitions, versions
from app.workflows.checkpoints import Checkpoint
from app.workflows.definitions import Definition

IMMUTABLE: Final = timedelta(days=365)  # a version never changes


@dataclass(frozen=True, slots=True)
class Mark:
    """An event of a running job, with the checkpoint it tells of, if any."""

    note: Note
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True)
class Close:
    """The end of an attempt, with the checkpoint of the step that ended with it, if any."""

    end: End
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts of one worker process, and the leases it holds."""

    db: Database
    config: ExecutionConfig
    leases: LeaseConfig
    holdings: Holdings
    ledger: Ledger
    gateway: Gateway
    embedder: Embedder
    store: Store
    tools: Toolbox
    claims: GroupCommit[tuple[JobId, AttemptId], Claimed | None]
    marks: GroupCommit[Mark, Noted | None]
    ends: GroupCommit[Close, str | None]
    definitions: Recent[tuple[TenantId, VersionId], Definition]
    seats: asyncio.Semaphore  # one a slot
    rng: random.Random = field(default_factory=random.SystemRandom)

    async def close(self) -> None:
        """Wait for what is in flight in the groups."""
        for group in (self.claims, self.marks, self.ends):
            await group.close()
        await self.tools.close()


def open_runtime(
    db: Database,
    config: ExecutionConfig,
    leases: LeaseConfig,
    *,
    ledger_: Ledger,
    gateway: Gateway,
    embedder: Embedder,
    store: Store,
    tools: Toolbox,
) -> Runtime:
    """A runtime under a fresh worker id."""
    holdings = Holdings(WorkerId(ids.new()))

    # A claim that a crash of the server takes back is an attempt that nobody took up: its lease ends. A hold, a
    # checkpoint, an effect or an end, each of which waits for the disk, makes the claim before it durable.
    async def claim(
        connection: psycopg.AsyncConnection[Any], items: Sequence[tuple[JobId, AttemptId]]
    ) -> list[Claimed | None]:
        return await transitions.claim(
            connection, items, worker=holdings.worker, lease=leases.running
        )

    async def definition(key: tuple[TenantId, VersionId]) -> Definition:
        async with db.transaction() as session:
            found = await versions.by_id(session, *key)
        return definitions.stored(found.definition)

    async def mark(
        connection: psycopg.AsyncConnection[Any], items: Sequence[Mark]
    ) -> list[Noted | None]:
        async with connection.pipeline(), connection.transaction():
            noted = await transitions.note(connection, [item.note for item in items])
            steps = [
                item.checkpoint
                for item, it in zip(items, noted, strict=True)
                if it is not None and item.checkpoint is not None
            ]
            await record(connection, steps)
        return noted

    async def end(
        connection: psycopg.AsyncConnection[Any], items: Sequence[Close]
    ) -> list[str | None]:
        ends = [item.end for item in items]
        if all(item.checkpoint is None for item in items):
            return await transitions.end(connection, ends)
        async with connection.pipeline(), connection.transaction():
            states = await transitions.end(connection, ends)
            steps = [
                item.checkpoint
                for item, state in zip(items, states, strict=True)
                if state is not None and item.checkpoint is not None
            ]
            await record(connection, steps)
        return states

    async def record(connection: psycopg.AsyncConnection[Any], steps: Sequence[Checkpoint]) -> None:
        # Locks in the order of the house: the jobs' are held, then attempt and step, then the effects.
        if steps:
            await checkpoints.record(connection, steps, lease=leases.running)
        bought = [(step.job, step.name, step.item) for step in steps if step.kind == "model"]
        if bought:
            await ledger.prune(connection, bought)  # what is recorded is never asked for again
        called = [(step.job, step.name, step.item) for step in steps if step.facts.get("once")]
        if called:
            await effects.prune(connection, called)

    return Runtime(
        db, config, leases, holdings, ledger_, gateway, embedder, store, tools,
        GroupCommit(claim, db, settings=HASTY), GroupCommit(mark, db, weigh=_weight), GroupCommit(end, db, weigh=_end_weight),
        Recent(definition, IMMUTABLE), asyncio.Semaphore(config.slots),
    )  # fmt: skip


def _weight(mark: Mark) -> int:
    return len(str(mark.checkpoint.result)) if mark.checkpoint is not None else 200


def _end_weight(close: Close) -> int:
    return len(str(close.end.ending.output))
