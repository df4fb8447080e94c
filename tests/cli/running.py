"""Runs `towpath` in a process of its own, forked from one that has loaded it: real, and 30 ms each."""

import asyncio
import multiprocessing
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection

from typer.testing import CliRunner

from app.cli.main import app

_LOADED = (
    "tests.cli.running", "app.cli.jobs", "app.cli.collections", "app.cli.workflows",
    "app.cli.webhooks", "app.cli.schedules", "app.cli.account", "app.workflows.definitions",
)  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote."""

    status: int
    out: str
    err: str


async def run(words: list[str], *, environment: Mapping[str, str], stdin: str | None) -> Ended:
    """One command, to its end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_LOADED))
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_invoke, args=(sender, words, dict(environment), stdin))
    process.start()
    sender.close()
    try:
        return Ended(*await asyncio.to_thread(receiver.recv))
    finally:
        await asyncio.to_thread(process.join)
        receiver.close()


def _invoke(
    sender: Connection, words: list[str], environment: dict[str, str], stdin: str | None
) -> None:
    result = CliRunner().invoke(app, words, input=stdin, env=environment)
    sender.send((result.exit_code, result.stdout, result.stderr))
