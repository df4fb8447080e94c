"""Starts the servers that a state folder needs, revives a dead one, stops them all."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.embedded import model, postgres, states, valkey

NAMES: Final = ("postgres", "valkey", "model")
BROKER_DATABASE: Final = 0
CACHE_DATABASE: Final = 1  # may be lost and refills itself; the broker's may not be flushed with it
Running = postgres.Running | valkey.Running | model.Running
_START: Final[dict[str, Callable[[Path], Running]]] = {
    "postgres": postgres.start,
    "valkey": valkey.start,
    "model": model.start,
}


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
    """The running servers of a state folder, by name."""

    state: Path
    running: dict[str, Running] = field(default_factory=dict)

    @property
    def addresses(self) -> Addresses:
        """They stay the same when a server is revived: sockets and ports are remembered."""
        found: dict[str, str] = {}
        for server in self.running.values():
            found |= _addresses(server)
        return Addresses(**found)

    def dead(self) -> list[str]:
        """Servers that have ended by themselves."""
        return [name for name, each in self.running.items() if each.process.poll() is not None]

    def revive(self, name: str) -> None:
        """Start a dead server again, on the same folder and address."""
        self.running[name].stop()
        self.running[name] = _START[name](self.state / name)

    def stop(self) -> None:
        """End every server, the last one started first, and let their folders go."""
        while self.running:
            self.running.popitem()[1].stop()


def start(
    state: Path, names: Collection[str] = NAMES, *, say: Callable[[str], None] = lambda _: None
) -> Servers:
    """Start the named servers in a state folder; if one fails, the others are stopped.

    `say` hears each name once it answers. Raises FolderRefused, FolderInUse, ServerFailed.
    """
    states.prepare(state)
    servers = Servers(state)
    try:
        for name in NAMES:
            if name in names:
                servers.running[name] = _START[name](state / name)
                say(name)
    except BaseException:
        servers.stop()
        raise
    return servers


def _addresses(server: Running) -> dict[str, str]:
    match server:
        case postgres.Running():
            return {
                "superuser_url": server.superuser_url,
                "owner_url": server.owner_url,
                "app_url": server.app_url,
            }
        case valkey.Running():
            return {
                "broker_url": server.broker(BROKER_DATABASE),
                "cache_url": server.database(CACHE_DATABASE),
            }
        case model.Running():
            return {"llm_base_url": server.base_url}
