"""The only writer of a job's state. Each move is one statement or one short transaction, with one event."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.core import ids, statements
from app.core.errors import NotFound
from app.core.ids import AttemptId, JobId, KeyId, TenantId, VersionId, WorkerId
from app.jobs import states
from app.jobs.endings import Ending
from app.jobs.errors import JobFinished, JobNotRetryable, JobNotWaiting
from app.jobs.models import Job

_CLAIM = statements.load(__file__, "claim")
_END = statements.load(__file__, "end_attempts")
_NOTE = statements.load(__file__, "note")
_DISPATCH = statements.load(__file__, "dispatch")
_SIGNALS = statements.load(__file__, "signals")
_LAPSED = statements.load(__file__, "lapsed")
_WAKE_DUE = statements.load(__file__, "wake_due")
_WAKE_FUNDED = statements.load(__file__, "wake_funded")
_EXPIRE_IDLE = statements.load(__file__, "expire_idle")
_LOCK = statements.load(__file__, "lock")
_CANCEL = statements.load(__file__, "cancel")
_RETRY = statements.load(__file__, "retry")
_ANSWER = statements.load(__file__, "answer")

Connection = psycopg.AsyncConnection[Any]


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job in a worker's hands: what a run needs, and the fence of every later write."""

    job: JobId
    tenant: TenantId
    attempt: AttemptId
    number: int
    run: int
    key: KeyId | None
    workflow: str
    version: VersionId
    version_number: int
    lane: str
    input: dict[str, Any]
    max_attempts: int
    failures: int
    losses: int
    interruptions: int
    deadline_at: datetime | None
    metadata: dict[str, Any]
    tags: list[str]
    end_user: str | None
    session: str | None
    traceparent: str | None
    cancelled: bool
    quarantined: bool  # it runs alone


@dataclass(frozen=True, slots=True)
class Released:
    """A dispatched attempt on its way to a worker."""

    attempt: AttemptId
    job: JobId
    tenant: TenantId
    lane: str
    predicted_nanousd: int


@dataclass(frozen=True, slots=True)
class Note:
    """An event of a running job. `progress` replaces the job's, where given."""

    job: JobId
    attempt: AttemptId
    name: str
    data: dict[str, Any]
    progress: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class End:
    """One attempt to end. `lease_over`: only if its lease has run out, which the statement checks.

    `last`: the event of the step that ended with it, told before the job's own.
    """

    job: JobId
    attempt: AttemptId
    workflow: str
    metadata: dict[str, Any]
    ending: Ending
    from_state: str = "running"
    lease_over: bool = False
    last: Note | None = None


@dataclass(frozen=True, slots=True)
class Noted:
    """What the job's row said when the event was written."""

    cancelled: bool
    expired: bool


async def claim(
    connection: Connection,
    items: Sequence[tuple[JobId, AttemptId]],
    *,
    worker: WorkerId,
    lease: timedelta,
) -> list[Claimed | None]:
    """Take up attempts: `dispatched` → `running`. None where nothing is left to claim: drop the message."""
    rows = [{"job": str(job), "attempt": str(attempt)} for job, attempt in items]
    bind = {"items": json.dumps(rows), "worker": worker, "lease": lease}
    cursor = await connection.execute(_CLAIM.raw, bind)
    found = {row.attempt: Claimed(*row[:-1]) for row in await cursor.fetchall()}
    return [found.get(attempt) for _, attempt in items]


async def end(connection: Connection, items: Sequence[End]) -> list[str | None]:
    """End attempts. Gives the state each job went to, or None: the attempt wasn't current any more.

    Under a cancel flag every ending is a cancellation (states.py: a running job is cancelled through
    its worker). Joins the caller's transaction, since a reaper closes holds in the same one.
    """
    rows = [_end_row(item) for item in items]
    cursor = await connection.execute(_END.raw, {"items": json.dumps(rows)})
    found = {row.attempt: str(row.state) for row in await cursor.fetchall()}
    return [found.get(item.attempt) for item in items]


def _end_row(item: End) -> dict[str, Any]:
    ending = item.ending
    return {
        "job": str(item.job),
        "attempt": str(item.attempt),
        "from_state": item.from_state,
        "lease_over": item.lease_over,
        "outcome": ending.outcome,
        "state": ending.state,
        "state_if_cancelled": "cancelled",
        "ends": ending.ends,
        "output": ending.output,
        "error": ending.error,
        "attempt_error": ending.attempt_error,
        "waiting_for": ending.waiting_for,
        "wake_in": None
        if ending.wake_in is None
        else f"{ending.wake_in.total_seconds():.6f} seconds",
        "need_nanousd": ending.need_nanousd,
        "quarantine": ending.quarantine,
        **{
            name: ending.counters.get(name, 0)
            for name in ("failures", "losses", "shared_losses", "interruptions", "undelivered")
        },
        "step": None if item.last is None else item.last.name,
        "step_data": None if item.last is None else item.last.data,
        "progress": None if item.last is None else item.last.progress,
        "event": str(ids.new()),
        "facts": {"workflow": item.workflow, "metadata": item.metadata},
    }


async def note(connection: Connection, items: Sequence[Note]) -> list[Noted | None]:
    """Write events of running jobs. None where the attempt is not current: it is lost."""
    rows = [
        {"n": n, "job": str(item.job), "attempt": str(item.attempt), "name": item.name, "data": item.data,
         "progress": item.progress}
        for n, item in enumerate(items)
    ]  # fmt: skip
    cursor = await connection.execute(_NOTE.raw, {"items": json.dumps(rows)})
    found = {row.n: Noted(row.cancelled, row.expired) for row in await cursor.fetchall()}
    return [found.get(n) for n in range(len(items))]


async def dispatch(
    connection: Connection, jobs: Sequence[JobId], lease: timedelta
) -> list[Released]:
    """Release those of these jobs that are queued still; sorted by attempt."""
    bind = {"jobs": list(jobs), "lease": lease}
    cursor = await connection.execute(_DISPATCH.raw, bind)
    return sorted((Released(*row) for row in await cursor.fetchall()), key=lambda it: it.attempt)


async def signals(
    connection: Connection, held: Sequence[tuple[AttemptId, JobId]]
) -> list[tuple[AttemptId, str]]:
    """Which of these attempts should stop: (attempt, lost | cancelled | expired)."""
    bind = {"attempts": [attempt for attempt, _ in held], "jobs": [job for _, job in held]}
    cursor = await connection.execute(_SIGNALS.raw, bind)
    return [(row.attempt, row.reason) for row in await cursor.fetchall()]


async def lapsed(connection: Connection, batch: int) -> list[Any]:
    """Attempts whose lease is over, longest silent first: what the reaper looks at."""
    cursor = await connection.execute(_LAPSED.raw, {"batch": batch})
    return await cursor.fetchall()


async def wake_due(connection: Connection, batch: int) -> int:
    """Queue the scheduled and waiting jobs whose time has come. Gives how many."""
    return len(await (await connection.execute(_WAKE_DUE.raw, {"batch": batch})).fetchall())


async def wake_funded(connection: Connection, jobs: Sequence[JobId]) -> int:
    """Queue jobs that waited for budget. Gives how many."""
    return len(await (await connection.execute(_WAKE_FUNDED.raw, {"jobs": list(jobs)})).fetchall())


async def expire_idle(connection: Connection, batch: int) -> int:
    """End jobs whose deadline passed while no worker had them. Gives how many."""
    return len(await (await connection.execute(_EXPIRE_IDLE.raw, {"batch": batch})).fetchall())


async def cancel(
    session: AsyncSession,
    tenant: TenantId,
    job: JobId,
    *,
    actor: trail.Actor,
    request_id: str | None,
) -> str:
    """Cancel a job, or flag a running one for its worker. Gives the state it is in now.

    Twice is once. Raises NotFound, or JobFinished where it ended before. Locks the job, then its attempt.
    """
    found = await _locked(session, tenant, job)
    if found.state in states.TERMINAL:
        if found.state == "cancelled":
            return "cancelled"
        raise JobFinished(f"The job has {found.state} already.", status=found.state)
    if found.cancel_requested_at is not None:
        return found.state
    running = found.state == "running"
    bind = {"idle": [] if running else [job], "running": [job] if running else []}
    row = (await session.execute(_CANCEL.text, bind)).one()
    entry = trail.entry(
        tenant, actor=actor, action="job.cancel", object=ids.wire("job", job),
        before={"status": found.state}, after={"status": row.state}, request_id=request_id,
    )  # fmt: skip
    await trail.append(session, entry)
    return str(row.state)


async def lock(connection: Connection, jobs: Sequence[JobId]) -> dict[JobId, str]:
    """The states of jobs, which stay so until the caller commits. Locks them in id order."""
    return {JobId(row.id): str(row.state) for row in await locked(connection, jobs)}


async def locked(connection: Connection, jobs: Sequence[JobId]) -> list[Any]:
    """As `lock`, with all that a decision needs: rows (id, tenant, state, run, cancelling, erased)."""
    cursor = await connection.execute(_LOCK.raw, {"jobs": list(jobs)})
    return await cursor.fetchall()


async def cancel_locked(
    connection: Connection, *, idle: Sequence[JobId], running: Sequence[JobId]
) -> dict[JobId, str]:
    """Cancel jobs that the caller has locked: the idle end, the running are flagged. Gives their states."""
    bind = {"idle": list(idle), "running": list(running)}
    cursor = await connection.execute(_CANCEL.raw, bind)
    return {JobId(row.id): str(row.state) for row in await cursor.fetchall()}


async def retry_locked(connection: Connection, jobs: Sequence[JobId]) -> None:
    """Queue jobs again that the caller has locked and found failed or expired."""
    await connection.execute(_RETRY.raw, {"jobs": list(jobs)})


async def drop(connection: Connection, job: JobId, entry: trail.NewEntry) -> None:
    """Cancel a job that no worker has, which the caller has locked, with the entry that tells of it."""
    await cancel_locked(connection, idle=[job], running=[])
    await trail.append_on(connection, entry)


async def retry(
    session: AsyncSession,
    tenant: TenantId,
    job: JobId,
    *,
    actor: trail.Actor,
    request_id: str | None,
) -> None:
    """Queue a failed or expired job again, as a new run from its last checkpoint.

    Counters start anew; a deadline that has passed is taken off, or the run would expire at once.
    Raises NotFound, JobNotRetryable. Locks the job.
    """
    found = await _locked(session, tenant, job)
    if (found.state, "queued") not in states.MOVES or found.state not in states.TERMINAL:
        raise JobNotRetryable(
            f"A job that is {states.SHOWN[found.state]} can't be retried.", status=found.state
        )
    if found.erased_at is not None:
        raise JobNotRetryable("The job's input was erased by age.", status=found.state)
    await session.execute(_RETRY.text, {"jobs": [job]})
    entry = trail.entry(
        tenant, actor=actor, action="job.retry", object=ids.wire("job", job),
        before={"status": found.state, "run": found.run}, after={"status": "queued", "run": found.run + 1},
        request_id=request_id,
    )  # fmt: skip
    await trail.append(session, entry)


async def lock_waiting(session: AsyncSession, tenant: TenantId, job: JobId, what: str) -> None:
    """Lock a job that waits for `what`, until the caller commits. Raises NotFound, JobNotWaiting."""
    found = await _locked(session, tenant, job)
    if found.state != "waiting" or found.waiting_for != what:
        shown = states.SHOWN[found.state]
        raise JobNotWaiting(f"The job is {shown} and does not wait for {what}.", status=shown)


async def answered(
    session: AsyncSession, job: JobId, *, error: dict[str, Any] | None, data: dict[str, Any]
) -> None:
    """A job that the caller has locked and found waiting goes on, or with an error has failed."""
    bind = {
        "job": job, "state": "queued" if error is None else "failed", "ends": error is not None,
        "error": None if error is None else json.dumps(error),
        "data": json.dumps(data if error is None else data | {"error": error}),
    }  # fmt: skip
    await session.execute(_ANSWER.text, bind)


async def _locked(session: AsyncSession, tenant: TenantId, job: JobId) -> Job:
    found = await session.get(Job, job, with_for_update={"key_share": True})
    if found is None or found.tenant != tenant:
        raise NotFound("No such job.")
    return found
