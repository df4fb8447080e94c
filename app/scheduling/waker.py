"""The waker: each second, what waits is compared with the present; what it waited for is there, so it queues."""

from collections.abc import Mapping, Sequence
from typing import Any

import psycopg

from app.budgets import accounts
from app.core import statements
from app.core.ids import JobId, TenantId
from app.jobs import transitions

BATCH = 500

_UNFUNDED = statements.load(__file__, "unfunded")


async def wake(connection: psycopg.AsyncConnection[Any], batch: int = BATCH) -> int:
    """Queue what is due and what money came free for; end what is past its deadline. Gives how many moved."""
    moved = await transitions.wake_due(connection, batch)
    moved += await transitions.expire_idle(connection, batch)
    rows = await (await connection.execute(_UNFUNDED.raw, {"batch": batch})).fetchall()
    if rows:
        free = await accounts.free_nanousd(connection, sorted({row.tenant for row in rows}))
        funded = affordable([(row.tenant, row.job, row.need_nanousd) for row in rows], free)
        moved += await transitions.wake_funded(connection, funded) if funded else 0
    return moved


def affordable(
    waiting: Sequence[tuple[TenantId, JobId, int]], free_nanousd: Mapping[TenantId, int]
) -> list[JobId]:
    """Which jobs the free money covers, in the order given: the first that doesn't fit stops its tenant.

    Later, cheaper jobs don't overtake it, or a dear one would never be served.
    """
    left = dict(free_nanousd)
    stopped: set[TenantId] = set()
    funded = []
    for tenant, job, need in waiting:
        if tenant in stopped:
            continue
        if need > left.get(tenant, 0):
            stopped.add(tenant)
            continue
        left[tenant] -= need
        funded.append(job)
    return funded
