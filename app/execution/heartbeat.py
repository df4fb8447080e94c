"""The heartbeat of a worker process: once a second it renews every lease, tells that the worker lives,
and hears which attempts should stop. On a connection of its own, so that no queue of writes delays it.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import Sequence
from typing import Any, cast

import psycopg
import structlog

from app.attempts import leases
from app.attempts.leases import Reason
from app.execution.runtime import Runtime
from app.jobs import transitions

log = structlog.get_logger()


async def beat(
    runtime: Runtime, connection: psycopg.AsyncConnection[Any], lanes: Sequence[str], slots: int
) -> None:
    """One heartbeat."""
    holdings = runtime.holdings
    await leases.beat(
        connection, holdings, host=socket.gethostname(), pid=os.getpid(), lanes=lanes, slots=slots
    )
    await leases.renew(connection, holdings, runtime.leases.running)
    held = [
        (lease.attempt, lease.job) for lease in holdings.leases.values() if lease.work is not None
    ]
    for attempt, reason in await transitions.signals(connection, held) if held else []:
        lease = holdings.leases.get(attempt)
        if lease is not None:
            log.info("attempt.stopped", attempt=str(attempt), reason=reason)
            lease.stop(cast(Reason, reason))


async def run(runtime: Runtime, lanes: Sequence[str], slots: int) -> None:
    """Beat until cancelled; a database that is away is tried again at each beat."""
    connection: psycopg.AsyncConnection[Any] | None = None
    try:
        while True:
            try:
                if connection is None:
                    connection = await runtime.db.connect_hot()
                await beat(runtime, connection, lanes, slots)
            except psycopg.Error as error:
                log.warning("heartbeat.failed", error=str(error))
                if connection is not None:
                    with contextlib.suppress(psycopg.Error):
                        await connection.close()
                connection = None
            await asyncio.sleep(runtime.leases.heartbeat.total_seconds())
    finally:
        if connection is not None:
            await connection.close()
