"""What workflows really cost beside what was predicted: learnt from jobs that ended, for the next predictions."""

from collections.abc import Iterable
from typing import Any, Final

import psycopg

from app.core import statements

BATCH: Final = 500
MEMORY: Final = 0.9  # what a job leaves of what was learnt before it: some twenty jobs make it new
LEAST: Final = 0.01  # who predicts far too much isn't served for nothing all the same
MOST: Final = 10.0

_ENDED = statements.load(__file__, "ended")
_LEARN = statements.load(__file__, "learn")
_LEARNT_UNTIL = statements.load(__file__, "learnt_until")


async def learn(connection: psycopg.AsyncConnection[Any], batch: int = BATCH) -> int:
    """Take in a batch of jobs that ended since. Gives how many; run twice, it learns the same twice."""
    async with connection.transaction():
        rows = await (await connection.execute(_ENDED.raw, {"batch": batch})).fetchall()
        if not rows:
            return 0
        kinds: dict[tuple[Any, str], list[tuple[int, int]]] = {}
        for row in rows:
            if row.counts:
                job = (row.predicted_nanousd, row.cost_nanousd)
                kinds.setdefault((row.tenant, row.workflow), []).append(job)
        held = {(row.tenant, row.workflow): row.ratio for row in rows}
        bind = {
            "tenants": [tenant for tenant, _ in kinds], "workflows": [workflow for _, workflow in kinds],
            "ratios": [learnt(held[kind], jobs) for kind, jobs in kinds.items()],
        }  # fmt: skip
        await connection.execute(_LEARN.raw, bind)
        await connection.execute(_LEARNT_UNTIL.raw, {"until": rows[-1].finished_at})
    return len(rows)


def learnt(ratio: float, jobs: Iterable[tuple[int, int]]) -> float:
    """The ratio of cost to prediction once these (predicted, cost) are known, the last ones counting most."""
    for predicted, cost in jobs:
        seen = min(MOST, max(LEAST, cost / predicted))
        ratio = MEMORY * ratio + (1 - MEMORY) * seen
    return ratio
