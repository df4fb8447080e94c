"""The processes, one command each. Each becomes another program: nothing of a worker is imported here."""

import os
import sys
from typing import Annotated, Final, NoReturn

import typer

HOST: Final = "127.0.0.1"
LANES: Final = ("interactive", "standard", "batch")
# Room for webhook deliveries beside the jobs, so that a silent endpoint takes no job's slot.
DELIVERIES: Final = 64
QUARANTINE: Final = "quarantine"
WEBHOOKS: Final = "webhooks"  # a queue that every worker serves, beside those of its lanes

Port = Annotated[int, typer.Option(help="Port to listen on.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]


def api(port: Port = 8080, host: Host = HOST) -> None:
    """Serve the HTTP API."""
    _become("-m", "app.asgi", host, str(port))


def worker(
    slots: Annotated[int, typer.Option(min=1, help="Jobs in flight at once.")] = 200,
    lanes: Annotated[str, typer.Option(help="Lanes to serve, with commas.")] = ",".join(LANES),
    events: Annotated[bool, typer.Option(help="Tell Flower of every task.")] = True,
) -> None:
    """Run jobs and webhook deliveries: a Celery worker on the asyncio pool."""
    chosen = lanes.split(",")
    unknown = sorted(set(chosen) - set(LANES))
    if unknown:
        raise typer.BadParameter(
            f"no such lane: {', '.join(unknown)}; there are {', '.join(LANES)}"
        )
    _work([*chosen, WEBHOOKS], slots + DELIVERIES, chosen, slots, events=events)


def quarantine(
    events: Annotated[bool, typer.Option(help="Tell Flower of every task.")] = True,
) -> None:
    """Run jobs whose workers were lost, each alone: a worker of one slot, which `towpath up` starts when needed."""
    _work([QUARANTINE], 1, [QUARANTINE], 1, events=events)


def control() -> None:
    """Release, wake, reap, relay, seal and roll up. Any number may run; one leads each loop."""
    _become("-m", "workers.control")


def flower(port: Port = 5555, host: Host = HOST) -> None:
    """Serve Flower: a view of Celery, never the record."""
    _become(
        "-m", "celery", "-A", "workers.celery", "flower", f"--address={host}", f"--port={port}",
        "--max_tasks=1000",
    )  # fmt: skip


def _work(
    queues: list[str], concurrency: int, lanes: list[str], slots: int, *, events: bool
) -> NoReturn:
    _become(
        "-m", "celery", "-A", "workers.celery", "worker", "-P", "custom", "-c", str(concurrency),
        "-Q", ",".join(f"towpath.{name}" for name in queues), "-n", f"{os.getpid()}@%h",
        "--without-gossip", "--without-mingle", *(["--task-events"] if events else []),
        CELERY_CUSTOM_WORKER_POOL="workers.asyncio_pool:TaskPool",
        TOWPATH_WORKER__LANES=_json_list(lanes),
        TOWPATH_EXECUTION__SLOTS=str(slots),
    )  # fmt: skip


def _json_list(names: list[str]) -> str:
    return "[" + ",".join(f'"{name}"' for name in names) + "]"


def _become(*words: str, **environment: str) -> NoReturn:
    environment = dict(os.environ) | environment  # noqa: TID251 - handed on, not read as settings
    os.execve(sys.executable, [sys.executable, *words], environment)  # noqa: S606
