"""How much waits: walked through in short steps, so that a million queued jobs hold up nobody, then published."""

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import psycopg

from app.audit.trail import PLATFORM
from app.core import statements
from app.core.ids import TenantId
from app.jobs.states import LANES

PAGE: Final = 20_000  # rows a step: some 20 ms
SHARE: Final = 0.2  # of the time that may go into counting
EVERY: Final = 1.0  # seconds between two counts, at least

_PAGE: Final = statements.load(__file__, "count_page")
_PUBLISH: Final = statements.load(__file__, "publish_levels")
_BEGIN: Final = ("", 0, UUID(int=0), -(2**63), datetime(1, 1, 1, tzinfo=UTC), UUID(int=0))
_CURSOR: Final = ("lane", "bucket", "tenant", "cap_group", "rank", "job")

Connection = psycopg.AsyncConnection[Any]


@dataclass(slots=True)
class _Sum:
    jobs: int = 0
    cost_nanousd: int = 0
    oldest_at: datetime | None = None

    def add(self, jobs: int, cost_nanousd: int, oldest_at: datetime) -> None:
        self.jobs += jobs
        self.cost_nanousd += cost_nanousd
        self.oldest_at = oldest_at if self.oldest_at is None else min(self.oldest_at, oldest_at)


async def follow(connection: Connection) -> None:
    """Count for ever, at most a fifth of the time."""
    while True:
        began = time.monotonic()
        await count(connection)
        await asyncio.sleep(max(0.0, EVERY - (time.monotonic() - began)))


async def count(connection: Connection, page: int = PAGE) -> None:
    """One count of everything that is queued, published at its end."""
    sums: dict[tuple[str, TenantId], _Sum] = {(lane, PLATFORM): _Sum() for lane in LANES}
    last: tuple[Any, ...] | None = _BEGIN
    while last is not None:
        began = time.monotonic()
        bind = dict(zip(_CURSOR, last, strict=True)) | {"page": page}
        rows = await (await connection.execute(_PAGE.raw, bind)).fetchall()
        for row in rows:
            for whose in (row.tenant, PLATFORM):
                one = sums.setdefault((row.lane, whose), _Sum())
                one.add(row.jobs, row.cost_nanousd, row.oldest_at)
        last = None
        if sum(row.jobs for row in rows) == page:
            end = rows[-1]
            last = (end.lane, end.bucket, end.tenant, end.last_group, end.last_rank, end.last_job)
            await asyncio.sleep((time.monotonic() - began) * (1 / SHARE - 1))
    bind = {
        "lanes": [lane for lane, _ in sums], "tenants": [whose for _, whose in sums],
        "jobs": [one.jobs for one in sums.values()],
        "costs": [one.cost_nanousd for one in sums.values()],
        "oldest": [one.oldest_at for one in sums.values()], "platform": PLATFORM,
    }  # fmt: skip
    await connection.execute(_PUBLISH.raw, bind)
