"""The processes, one command each: api, worker, control, flower, migrate, and `up` for all of them.

A worker, control and Flower are started as programs of their own, never imported: this process becomes them.
"""

import asyncio
import os
import sys
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
import uvicorn

from app.bootstrap import reporting, settings
from app.cli import demo, stack
from app.core.db import Database, open_database
from app.jobs.states import LANES
from app.usage import pricing
from migrations import run as migrations

HOST: Final = "127.0.0.1"
WEBHOOKS: Final = "webhooks"  # a queue that every worker serves, beside those of its lanes


def api(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8080,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = HOST,
) -> None:
    """Serve the HTTP API."""
    chosen = settings.load()
    reporting.begin("api", chosen)
    uvicorn.run(
        "app.asgi:create_app", factory=True, host=host, port=port, loop="uvloop", http="httptools",
        access_log=False, log_config=None, backlog=4096, timeout_graceful_shutdown=20,
        server_header=False,
    )  # fmt: skip


def worker(
    slots: Annotated[int | None, typer.Option(help="Jobs in flight at once.")] = None,
) -> None:
    """Run jobs and webhook deliveries: a Celery worker on the asyncio pool."""
    chosen = settings.load()
    lanes = chosen.worker.lanes
    unknown = set(lanes) - set(LANES)
    if unknown:
        raise typer.BadParameter(f"no such lane: {', '.join(sorted(unknown))}")
    queues = ",".join(f"towpath.{name}" for name in (*lanes, WEBHOOKS))
    become(
        "-m", "celery", "-A", "workers.celery", "worker", "-P", "custom",
        "-c", str(slots or chosen.execution.slots), "-Q", queues, "-n", f"{os.getpid()}@%h",
        "--without-gossip", "--without-mingle", "-E", "--loglevel", chosen.log_level.upper(),
        CELERY_CUSTOM_WORKER_POOL="workers.asyncio_pool:TaskPool",
    )  # fmt: skip


def control() -> None:
    """Release, wake, reap, relay, seal and roll up. Any number may run; one leads each loop."""
    become("-m", "workers.control")


def flower(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 5555,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = HOST,
) -> None:
    """Serve Flower: a view of Celery, never the record."""
    become(
        "-m", "celery", "-A", "workers.celery", "flower",
        f"--address={host}", f"--port={port}", "--max_tasks=1000",
    )  # fmt: skip


def become(*words: str, **environment: str) -> NoReturn:
    """Replace this process by another program of this Python."""
    os.execve(sys.executable, [sys.executable, *words], os.environ | environment)  # noqa: S606, TID251


def migrate() -> None:
    """Bring the schema up to date as its owner, and enter the embedded model's price."""
    chosen = settings.load()
    if chosen.database_owner_url is None:
        raise typer.BadParameter("TOWPATH_DATABASE_OWNER_URL is not set: who owns the schema?")
    migrations.up(chosen.database_owner_url)
    asyncio.run(_seed(open_database(chosen.database_owner_url, pool_size=1)))


async def _seed(db: Database) -> None:
    async with db.transaction() as session:
        await pricing.seed(session)
    await db.close()


def up(
    once: Annotated[bool, typer.Option("--once", help="Stop after the demonstration.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object as the last line.")
    ] = False,
    data: Annotated[Path | None, typer.Option(help="Folder of the local stack's state.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the API.")] = None,
    started_at: Annotated[float | None, typer.Option(hidden=True)] = None,
) -> None:
    """Start everything on this machine, run one real job, and stay until Ctrl-C."""
    options = stack.Options.of(
        settings.load(), data=data, port=port, once=once, as_json=as_json, started_at=started_at
    )
    raise typer.Exit(stack.up(options, demo.show))
