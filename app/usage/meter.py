"""Usage lines: one immutable fact a call, a correction as a line of its own."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

import psycopg

from app.core import statements
from app.core.ids import AttemptId, HoldId, JobId, PriceId, TenantId
from app.usage.pricing import Tokens

_METER: Final = statements.load(__file__, "meter")


@dataclass(frozen=True, slots=True)
class Line:
    """What is known of a call once its hold is closed. `labels` are what reports are cut by:
    key, workflow, workflow_version, lane, end_user, tags."""

    tenant: TenantId
    call: HoldId
    kind: Literal["charge", "correction"]
    at: datetime
    job: JobId
    attempt: AttemptId
    step: str
    labels: dict[str, Any]
    provider: str
    model: str
    price: PriceId
    tokens: Tokens
    estimated: bool
    unconfirmed: bool
    cost_nanousd: int
    latency_ms: int


async def write(connection: psycopg.AsyncConnection[Any], lines: Sequence[Line]) -> None:
    """Write lines in the caller's transaction. For budgets' ledger alone: spend and metering are one."""
    await connection.execute(_METER.raw, {"lines": json.dumps([_row(line) for line in lines])})


def _row(line: Line) -> dict[str, Any]:
    return {
        "tenant": str(line.tenant), "call": str(line.call), "kind": line.kind,
        "at": line.at.isoformat(), "job": str(line.job), "attempt": str(line.attempt),
        "step": line.step, "provider": line.provider, "model": line.model, "price": str(line.price),
        "input_tokens": line.tokens.input, "cached_tokens": line.tokens.cached,
        "cache_write_tokens": line.tokens.cache_write, "output_tokens": line.tokens.output,
        "reasoning_tokens": line.tokens.reasoning, "estimated": line.estimated,
        "unconfirmed": line.unconfirmed, "cost_nanousd": line.cost_nanousd,
        "latency_ms": line.latency_ms, **line.labels,
    }  # fmt: skip
