"""Many jobs of a tenant at once: found by a filter, then cancelled or retried a small batch at a time."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import psycopg

from app.audit import trail
from app.core import ids, statements
from app.core.ids import JobId, TenantId
from app.jobs import states, transitions
from app.jobs.reads import Filter

CANCELLABLE: Final = states.OPEN
RETRYABLE: Final = tuple(state for state in states.TERMINAL if (state, "queued") in states.MOVES)

_MATCHING = statements.load(__file__, "matching")
_COUNT = statements.load(__file__, "matching_count")

Connection = psycopg.AsyncConnection[Any]


async def count(
    connection: Connection, tenant: TenantId, narrow: Filter, among: Sequence[str], below: JobId
) -> int:
    """How many jobs fit that were admitted before `below`, of those in the states `among`."""
    cursor = await connection.execute(_COUNT.raw, _bind(tenant, narrow, among, UUID(int=0), below))
    row = await cursor.fetchone()
    return 0 if row is None else int(row.jobs)


async def matching(
    connection: Connection,
    tenant: TenantId,
    narrow: Filter,
    among: Sequence[str],
    *,
    after: UUID,
    below: JobId,
    batch: int,
) -> list[JobId]:
    """The next of them, oldest first. The platform's own jobs fit only a filter that names their workflow."""
    bind = _bind(tenant, narrow, among, after, below) | {"batch": batch}
    cursor = await connection.execute(_MATCHING.raw, bind)
    return [JobId(row.id) for row in await cursor.fetchall()]


def _bind(
    tenant: TenantId, narrow: Filter, among: Sequence[str], after: UUID, below: JobId
) -> dict[str, Any]:
    shown = [one for one in among if narrow.status in (None, states.SHOWN[one])]
    return {
        "tenant": tenant, "after": after, "below": below, "states": shown, "workflow": narrow.workflow,
        "lane": narrow.lane, "tag": narrow.tag, "error_code": narrow.error_code,
        "created_after": narrow.created_after, "created_before": narrow.created_before,
    }  # fmt: skip


async def cancel(
    connection: Connection, tenant: TenantId, jobs: Sequence[JobId], actor: trail.Actor, reason: str
) -> Counter[str]:
    """Cancel jobs in the caller's transaction. Gives how many were `cancelled`, told to stop (`stopping`),
    `skipped`: those that ended, or were told before. Locks the jobs in id order, then their attempts.
    """
    rows = [row for row in await transitions.locked(connection, jobs) if row.tenant == tenant]
    wanted = [row for row in rows if row.state in CANCELLABLE and not row.cancelling]
    running = [row.id for row in wanted if row.state == "running"]
    idle = [row.id for row in wanted if row.state != "running"]
    now = await transitions.cancel_locked(connection, idle=idle, running=running)
    entries = [
        trail.entry(
            tenant, actor=actor, action="job.cancel", object=ids.wire("job", row.id), reason=reason,
            before={"status": row.state}, after={"status": now[row.id]},
        )
        for row in wanted
    ]  # fmt: skip
    await trail.append_on(connection, *entries)
    return Counter(cancelled=len(idle), stopping=len(running), skipped=len(jobs) - len(wanted))


async def retry(
    connection: Connection, tenant: TenantId, jobs: Sequence[JobId], actor: trail.Actor, reason: str
) -> Counter[str]:
    """Queue failed and expired jobs again in the caller's transaction, each as a new run. Gives how many were
    `retried` and `skipped`: those that are in another state by now, or whose input was erased.
    """
    rows = [row for row in await transitions.locked(connection, jobs) if row.tenant == tenant]
    wanted = [row for row in rows if row.state in RETRYABLE and not row.erased]
    await transitions.retry_locked(connection, [row.id for row in wanted])
    entries = [
        trail.entry(
            tenant, actor=actor, action="job.retry", object=ids.wire("job", row.id), reason=reason,
            before={"status": row.state, "run": row.run}, after={"status": "queued", "run": row.run + 1},
        )
        for row in wanted
    ]  # fmt: skip
    await trail.append_on(connection, *entries)
    return Counter(retried=len(wanted), skipped=len(jobs) - len(wanted))
