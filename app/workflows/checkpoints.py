"""Checkpoints: the durable results of steps. A resumed job skips what is recorded here."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.attempts.models import Attempt
from app.core import statements
from app.core.ids import AttemptId, JobId, StepId, TenantId
from app.workflows.engine import Recorded
from app.workflows.models import Step

_RECORD = statements.load(__file__, "record")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A try of a step that ended, with its result or its error."""

    id: StepId
    tenant: TenantId
    job: JobId
    attempt: AttemptId
    name: str
    item: int
    kind: str
    result: Any
    error: dict[str, Any] | None
    facts: dict[str, Any]
    took: timedelta


async def record(
    connection: psycopg.AsyncConnection[Any], items: Sequence[Checkpoint], *, lease: timedelta
) -> None:
    """Store checkpoints in the caller's transaction, which holds their jobs' locks and has fenced them."""
    rows = [
        {
            "step": str(item.id), "tenant": str(item.tenant), "job": str(item.job),
            "attempt": str(item.attempt), "name": item.name, "item": item.item, "kind": item.kind,
            "state": "succeeded" if item.error is None else "failed", "result": item.result,
            "error": item.error, "facts": item.facts, "took": f"{item.took.total_seconds():.6f} seconds",
        }
        for item in items
    ]  # fmt: skip
    await connection.execute(_RECORD.raw, {"items": json.dumps(rows), "lease": lease})


async def load(session: AsyncSession, job: JobId) -> Recorded:
    """What is recorded of a job: (step, item) → result."""
    query = select(Step.name, Step.item, Step.result).where(
        Step.job == job, Step.state == "succeeded"
    )
    return {(name, item): result for name, item, result in await session.execute(query)}


async def failures(session: AsyncSession, job: JobId, name: str, run: int) -> int:
    """In how many attempts of a run a step has failed, whichever of its items."""
    query = (
        select(func.count(Step.attempt.distinct()))
        .join(Attempt, Attempt.id == Step.attempt)
        .where(Step.job == job, Step.name == name, Step.state == "failed", Attempt.run == run)
    )
    return int((await session.execute(query)).scalar_one())


async def listed(session: AsyncSession, job: JobId) -> list[Step]:
    """Every step and try of a job, in the order in which they ended."""
    query = select(Step).where(Step.job == job).order_by(Step.id)
    return list((await session.scalars(query)).all())
