"""Leases of one worker process: which attempts it holds, and the heartbeat that keeps them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

import psycopg

from app.core import statements
from app.core.ids import AttemptId, JobId, WorkerId

Reason = Literal["lost", "cancelled", "expired", "stopping"]

_RENEW = statements.load(__file__, "renew")
_BEAT = statements.load(__file__, "beat")


@dataclass(slots=True)
class Lease:
    """One attempt in this process, the task that works on it, and why that task was stopped.

    `recorded`: it has checkpointed something, so that its interruptions count from there.
    """

    attempt: AttemptId
    job: JobId
    work: "asyncio.Task[Any] | None" = None
    reason: Reason | None = None
    recorded: bool = False

    def stop(self, reason: Reason) -> None:
        """Cancel the work once; the first reason stays."""
        if self.reason is None:
            self.reason = reason
            if self.work is not None:
                self.work.cancel()


@dataclass(slots=True)
class Holdings:
    """All leases of one process. `stopping`: no further step is begun. `held`: an operator lets it take no
    new work. `hears`: messages reach it.
    """

    worker: WorkerId
    leases: dict[AttemptId, Lease] = field(default_factory=dict)
    stopping: bool = False
    held: bool = False
    hears: bool = True

    def take(self, attempt: AttemptId, job: JobId) -> Lease | None:
        """A lease for an attempt, or None where this process holds it already: the message came twice."""
        if attempt in self.leases:
            return None
        lease = self.leases[attempt] = Lease(attempt, job)
        return lease

    def drop(self, lease: Lease) -> None:
        """Forget an attempt that ended."""
        self.leases.pop(lease.attempt, None)


async def renew(
    connection: psycopg.AsyncConnection[Any], holdings: Holdings, lease: timedelta
) -> None:
    """Renew all leases of this process. One that is missing in the answer is judged by its job's row."""
    attempts: Sequence[AttemptId] = list(holdings.leases)
    if attempts:
        bind = {"attempts": attempts, "worker": holdings.worker, "lease": lease}
        await connection.execute(_RENEW.raw, bind)


async def beat(
    connection: psycopg.AsyncConnection[Any],
    holdings: Holdings,
    *,
    host: str,
    pid: int,
    lanes: Sequence[str],
    slots: int,
) -> None:
    """Enter or refresh this process's worker row, and hear whether an operator holds it."""
    bind = {
        "worker": holdings.worker, "host": host, "pid": pid, "lanes": list(lanes), "slots": slots,
        "stopping": holdings.stopping, "hears": holdings.hears,
    }  # fmt: skip
    row = await (await connection.execute(_BEAT.raw, bind)).fetchone()
    assert row is not None  # noqa: S101 - an upsert gives its row
    holdings.held = row.held
