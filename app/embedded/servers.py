"""Starts the servers that a state folder needs, and stops them again."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.embedded import model, postgres, states, valkey

BROKER_DATABASE: Final = 0
CACHE_DATABASE: Final = 1  # may be lost and refills itself; the broker's may not be flushed with it


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the servers of the local stack are. None: that one was left out."""

    superuser_url: str | None = None
    owner_url: str | None = None  # migrates
    app_url: str | None = None  # what the processes use
    broker_url: str | None = None  # for Celery
    cache_url: str | None = None  # for redis-py
    llm_base_url: str | None = None


@dataclass(frozen=True, slots=True)
class Servers:
    """Running servers. `stop` ends them, the last one started first."""

    addresses: Addresses
    processes: dict[str, int]
    logs: dict[str, Path]
    exits: ExitStack

    def stop(self) -> None:
        """End every server and let their folders go."""
        self.exits.close()


def start(
    state: Path,
    *,
    with_postgres: bool = True,
    with_valkey: bool = True,
    with_model: bool = True,
    say: Callable[[str], None] = lambda _: None,
) -> Servers:
    """Start the asked-for servers in a state folder; if one fails, the others are stopped.

    `say` hears each server's name before it is started. Raises FolderRefused, FolderInUse, ServerFailed.
    """
    states.prepare(state)
    found: dict[str, str] = {}
    processes: dict[str, int] = {}
    logs: dict[str, Path] = {}
    with ExitStack() as exits:
        if with_postgres:
            say("postgres")
            database = postgres.start(state / "postgres")
            exits.callback(database.stop)
            processes["postgres"], logs["postgres"] = database.process.pid, database.folder.log
            found |= {"superuser_url": database.superuser_url}
            found |= {"owner_url": database.owner_url, "app_url": database.app_url}
        if with_valkey:
            say("valkey")
            store = valkey.start(state / "valkey")
            exits.callback(store.stop)
            processes["valkey"], logs["valkey"] = store.process.pid, store.folder.log
            found |= {"broker_url": store.broker(BROKER_DATABASE)}
            found |= {"cache_url": store.database(CACHE_DATABASE)}
        if with_model:
            say("model")
            answering = model.start(state / "model")
            exits.callback(answering.stop)
            processes["model"], logs["model"] = answering.process.pid, answering.folder.log
            found |= {"llm_base_url": answering.base_url}
        return Servers(Addresses(**found), processes, logs, exits.pop_all())
