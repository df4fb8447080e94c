"""Quarantine: jobs that run alone, since workers were lost with them. Whether somebody is there to run them."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import psycopg
import structlog

from app.core import statements

log = structlog.get_logger()

PATIENCE: Final = timedelta(
    seconds=30
)  # a worker is started within seconds where `towpath up` runs
SILENCE: Final = timedelta(seconds=3)  # of a worker that is there: three heartbeats

_LOOK = statements.load(__file__, "quarantine")


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Jobs in quarantine that wait or have a worker, the longest wait, and the workers that serve it."""

    queued: int
    active: int
    workers: int
    oldest_seconds: float

    @property
    def needed(self) -> bool:
        """Whether a worker has something to do there."""
        return self.queued + self.active > 0

    @property
    def neglected(self) -> bool:
        """Whether jobs wait for a worker that isn't there."""
        late = self.oldest_seconds > PATIENCE.total_seconds()
        return self.queued > 0 and self.workers == 0 and late


async def look(connection: psycopg.AsyncConnection[Any]) -> Quarantine:
    """How the quarantine stands."""
    row = await (await connection.execute(_LOOK.raw, {"silence": SILENCE})).fetchone()
    assert row is not None  # noqa: S101 - sums without GROUP BY give a row
    return Quarantine(row.queued, row.active, row.workers, row.oldest_seconds)


async def watch(connection: psycopg.AsyncConnection[Any]) -> None:
    """Say so where jobs wait in quarantine and nobody runs them: they must not wait silently."""
    seen = await look(connection)
    if seen.neglected:
        log.error(
            "quarantine.no_worker", jobs=seen.queued, oldest_seconds=round(seen.oldest_seconds),
            remedy="start `towpath quarantine`",
        )  # fmt: skip
