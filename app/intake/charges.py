"""Tokens that were charged for a job at its admission: once it is over, the difference to what it used goes back."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import psycopg

from app.core import statements
from app.core.db import Database
from app.core.ids import JobId
from app.intake import admission
from app.ratelimit import charging
from app.ratelimit.limiter import Limiter
from app.tenants import limits

BATCH: Final = 1_000
GATHER_SECONDS: Final = 0.5  # jobs that end meanwhile are one statement
IDLE_SECONDS: Final = 1.0
SWEEP_SECONDS: Final = 30.0  # for jobs of which nothing was heard

_SETTLE: Final = statements.load(__file__, "settle_charges")

Connection = psycopg.AsyncConnection[Any]


async def follow(db: Database, limiter: Limiter) -> None:
    """Settle charges as their jobs end, for ever. Where nothing is charged, it doesn't even listen."""
    async with await db.connect_hot() as connection:
        while True:
            if await _charged(connection):
                await _settle_while_charged(connection, limiter)
            await asyncio.sleep(IDLE_SECONDS)


async def _settle_while_charged(connection: Connection, limiter: Limiter) -> None:
    await connection.execute("LISTEN jobs_ended")
    swept = 0.0
    while await _charged(connection):
        if time.monotonic() - swept > SWEEP_SECONDS:
            swept = time.monotonic()
            await settle(connection, limiter, None)
        ended: list[JobId] = []
        async for note in connection.notifies(timeout=GATHER_SECONDS):
            ended += _named(note.payload)
        for place in range(0, len(ended), BATCH):
            await settle(connection, limiter, ended[place : place + BATCH])
    await connection.execute("UNLISTEN jobs_ended")


async def settle(connection: Connection, limiter: Limiter, jobs: Sequence[JobId] | None) -> int:
    """Give back what these jobs, if they are over, were charged beyond their use. None: look at the oldest charges.

    Used beyond the prediction is drawn after the fact. Gives how many charges are settled.
    """
    bind = {"jobs": None if jobs is None else list(jobs), "batch": BATCH}
    rows = await (await connection.execute(_SETTLE.raw, bind)).fetchall()
    for row in rows:
        asked = charging.Request(
            row.tenant, row.key, admission.ROUTE, row.end_user, row.tokens - int(row.used)
        )
        limiter.refund(charging.refund(limits.in_force(row.plan_limits, row.limits), asked))
    return len(rows)


async def _charged(connection: Connection) -> bool:
    cursor = await connection.execute("SELECT EXISTS (SELECT FROM token_charge) AS any")
    row = await cursor.fetchone()
    return bool(row.any) if row is not None else False


def _named(payload: str) -> list[JobId]:
    """The jobs of a notification; a name that was cut off at the payload's end is left to the sweep."""
    found = []
    for text in payload.split(","):
        try:
            found.append(JobId(UUID(text)))
        except ValueError:
            continue
    return found
