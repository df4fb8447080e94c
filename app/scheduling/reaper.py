"""The reaper: attempts whose worker fell silent are ended, and their open holds settled, in one commit.

It never acts on what it has read alone: the lease is looked at again under the locks.
"""

from datetime import timedelta
from typing import Any

import psycopg

from app.budgets import ledger
from app.core import statements
from app.jobs import endings, transitions
from app.jobs.transitions import End

BATCH = 200

_UP_SINCE = statements.load(__file__, "up_since")


async def up_for(connection: psycopg.AsyncConnection[Any]) -> timedelta:
    """How long the database server has been up: until a lease after its start, silence proves nothing."""
    row = await (await connection.execute(_UP_SINCE.raw)).fetchone()
    assert row is not None  # noqa: S101 - a SELECT without FROM gives a row
    return timedelta(seconds=row.up_seconds)


async def reap(connection: psycopg.AsyncConnection[Any], batch: int = BATCH) -> int:
    """End a batch of attempts whose lease is over. Gives how many; safe to run twice."""
    rows = await transitions.lapsed(connection, batch)
    if not rows:
        return 0
    ends = [
        End(
            row.job,
            row.attempt,
            row.workflow,
            row.metadata,
            _ending(row),
            row.state,
            lease_over=True,
        )
        for row in rows
    ]
    async with connection.transaction():
        states = await transitions.end(connection, ends)
        ended = [
            item.attempt for item, state in zip(ends, states, strict=True) if state is not None
        ]
        await ledger.abandon(connection, ended)
    return len(ended)


def _ending(row: Any) -> endings.Ending:
    if row.state == "dispatched":
        return endings.undelivered(row.undelivered)
    return endings.lost_alone(row.losses) if row.quarantined else endings.lost(row.shared_losses)
