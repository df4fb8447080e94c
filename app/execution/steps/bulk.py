"""Cancel and retry: what is done to many jobs, as a job. It goes on where it was cut off, counting none twice."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import UUID

import psycopg
from pydantic import TypeAdapter, ValidationError

from app.attempts.errors import AttemptLost
from app.audit.trail import Actor
from app.core import ids
from app.core.errors import Unavailable
from app.core.ids import JobId, TenantId
from app.execution.errors import StepFailed
from app.execution.steps.bench import Bench, Outcome
from app.jobs import bulk, reads, transitions
from app.jobs.reads import Filter
from app.jobs.transitions import Note

BATCH: Final = 100  # jobs a transaction: their locks are held for some 20 ms

Act = Callable[
    [psycopg.AsyncConnection[Any], TenantId, Sequence[JobId], Actor, str], Awaitable[Counter[str]]
]
_FILTER: Final = TypeAdapter(Filter)


@dataclass(slots=True)
class _Sweep:
    """How far it has come. Kept in the job's progress, written in the commit of each batch."""

    done: int
    total: int
    label: str
    counts: dict[str, int]
    after: str


async def cancel(bench: Bench, arguments: dict[str, Any]) -> Outcome:
    """Cancel the jobs that fit. Arguments: filter. The result: {matched, cancelled, stopping, skipped}."""
    found = await _sweep(bench, arguments, "cancel", bulk.CANCELLABLE, bulk.cancel)
    names = ("cancelled", "stopping", "skipped")
    return Outcome({"matched": found.done, **{name: found.counts.get(name, 0) for name in names}})


async def retry(bench: Bench, arguments: dict[str, Any]) -> Outcome:
    """Retry the failed and expired jobs that fit. Arguments: filter. The result: {matched, retried, skipped}."""
    found = await _sweep(bench, arguments, "retry", bulk.RETRYABLE, bulk.retry)
    names = ("retried", "skipped")
    return Outcome({"matched": found.done, **{name: found.counts.get(name, 0) for name in names}})


async def _sweep(
    bench: Bench, arguments: dict[str, Any], step: str, among: Sequence[str], act: Act
) -> _Sweep:
    try:
        narrow = _FILTER.validate_python(arguments.get("filter"))
    except ValidationError as error:
        raise StepFailed(f"{step} wants a filter of jobs", step=step) from error
    claimed = bench.claimed
    try:
        async with await bench.runtime.db.connect_hot() as connection:
            sweep = await _begun(bench, connection, narrow, among)
            while jobs := await bulk.matching(
                connection, claimed.tenant, narrow, among,
                after=UUID(sweep.after), below=claimed.job, batch=BATCH,
            ):  # fmt: skip
                async with connection.transaction():
                    await _batch(bench, connection, sweep, jobs, act)
    except (
        psycopg.OperationalError
    ) as error:  # gone, or a lock was waited for too long: from here again
        raise Unavailable("The database is out of reach.", retry_after=1) from error
    return sweep


async def _begun(
    bench: Bench, connection: psycopg.AsyncConnection[Any], narrow: Filter, among: Sequence[str]
) -> _Sweep:
    claimed = bench.claimed
    async with bench.runtime.db.transaction() as session:
        job = await reads.get(session, claimed.tenant, claimed.job)
    if job is not None and job.progress is not None and "after" in job.progress:
        return _Sweep(**job.progress)
    total = await bulk.count(connection, claimed.tenant, narrow, among, claimed.job)
    return _Sweep(0, total, "jobs", {}, str(UUID(int=0)))


async def _batch(
    bench: Bench,
    connection: psycopg.AsyncConnection[Any],
    sweep: _Sweep,
    jobs: Sequence[JobId],
    act: Act,
) -> None:
    """One batch and what is told of it, in the caller's transaction: both, or neither."""
    claimed = bench.claimed
    counts = Counter(sweep.counts)
    counts.update(await act(connection, claimed.tenant, jobs, _actor(bench), _reason(claimed.job)))
    done = sweep.done + len(jobs)
    total = max(sweep.total, done)
    kept = asdict(_Sweep(done, total, sweep.label, dict(counts), str(jobs[-1])))
    told = {"done": done, "total": total, "label": sweep.label}
    note = Note(claimed.job, claimed.attempt, "job.progress", told, kept)
    if (await transitions.note(connection, [note]))[0] is None:
        raise AttemptLost("The attempt is not current any more.")
    sweep.done, sweep.total, sweep.counts, sweep.after = done, total, dict(counts), str(jobs[-1])


def _actor(bench: Bench) -> Actor:
    claimed = bench.claimed
    if claimed.key is None:
        return Actor("system", ids.wire("job", claimed.job))
    return Actor("key", ids.wire("key", claimed.key))


def _reason(job: JobId) -> str:
    return f"by filter, {ids.wire('job', job)}"
