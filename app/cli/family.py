"""The processes and servers of one `towpath up`: what runs, what has died, when it is started again."""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from io import FileIO
from pathlib import Path
from typing import Final

from app.core import backoff
from app.core.errors import TowpathError
from app.embedded import launch
from app.embedded.servers import Servers

ROOT: Final = Path(__file__).parents[2]
_CALM: Final = timedelta(seconds=60)  # a process that lived so long has earned a fresh back-off
_RESTART_BASE: Final = timedelta(seconds=1)
_RESTART_CAP: Final = timedelta(seconds=30)


@dataclass(slots=True)
class _Child:
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    deaths: int = 0
    due: float = 0.0  # when it is started (again)
    log_from: int = 0  # where its own lines begin in a log that earlier ones wrote too


class Family:
    """The processes and servers of one `up`: what runs, what has died, when it is started again."""

    def __init__(
        self,
        running: Servers,
        commands: Mapping[str, list[str]],
        environment: Mapping[str, str],
        logs: Path,
        lock: FileIO,
        patience: timedelta,
        sleeping: Iterable[str] = (),
    ) -> None:
        self._servers = running
        self._commands = commands
        self._environment = environment
        self._logs = logs
        self._lock = lock
        self._patience = patience
        self._children = {name: _Child() for name in (*running.running, *commands)}
        self._wanted = set(commands) - set(sleeping)  # the others run once they are wanted
        self._changed = asyncio.Event()
        self._rng = random.Random()  # noqa: S311 - a delay, not a secret
        for name, child in self._children.items():
            child.started, child.log_from = time.monotonic(), self._size(name)

    def look(self) -> None:
        """A child has ended (SIGCHLD), or another is wanted."""
        self._changed.set()

    def want(self, name: str, wanted: bool) -> bool:
        """Run a process from now on, or end it. Gives whether that is a change."""
        if wanted == (name in self._wanted):
            return False
        if wanted:
            self._wanted.add(name)
        else:
            self._wanted.remove(name)
            process = self._children[name].process
            if process is not None and process.poll() is None:
                process.terminate()
        self.look()
        return True

    async def watch(self) -> None:
        """Start what is due, forever."""
        while True:
            self._changed.clear()
            self._notice_deaths()
            now = time.monotonic()
            for name in self._missing():
                if self._children[name].due <= now:
                    self._start(name)
            waits = [self._children[name].due for name in self._missing()]
            timeout = max(0.0, min(waits) - time.monotonic()) if waits else None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), timeout)

    def deaths(self, name: str) -> int:
        """How often it ended by itself, since it was last calm."""
        return self._children[name].deaths

    def end(self) -> None:
        """Ask every process to finish, then insist. The servers end after them."""
        living = [each.process for each in self._children.values() if each.process is not None]
        for process in living:
            if process.poll() is None:
                process.terminate()
        end = time.monotonic() + self._patience.total_seconds()
        for process in living:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, end - time.monotonic()))
            # SIGQUIT is Celery's cold shutdown; the others end by it as well.
            launch.stop(process, signal.SIGQUIT, seconds=3)

    def _missing(self) -> list[str]:
        dead = self._servers.dead()
        return dead + [
            name
            for name in self._commands
            if name in self._wanted and self._children[name].process is None
        ]

    def _notice_deaths(self) -> None:
        for name, child in self._children.items():
            process = child.process
            if process is not None and process.poll() is not None:
                child.process = None
                if name in self._wanted:
                    self._mourn(name, process.returncode)
        for name in self._servers.dead():
            child = self._children[name]
            if child.due <= child.started:  # not yet seen to be dead
                self._mourn(name, self._servers.running[name].process.returncode)

    def _mourn(self, name: str, status: int) -> None:
        child = self._children[name]
        now = time.monotonic()
        child.deaths = 1 if now - child.started > _CALM.total_seconds() else child.deaths + 1
        delay = backoff.delay(child.deaths, base=_RESTART_BASE, cap=_RESTART_CAP, rng=self._rng)
        child.due = now + delay.total_seconds()
        say(f"{name} ended with status {status}; it starts again in {delay.total_seconds():.1f} s")
        if child.log_from < self._size(name):
            say(launch.tail(self._log(name), 5, since=child.log_from))

    def _start(self, name: str) -> None:
        child = self._children[name]
        child.started, child.log_from = time.monotonic(), self._size(name)
        if name in self._servers.running:
            try:
                self._servers.revive(name)
            except TowpathError as error:
                child.due = 0.0
                say(str(error))
            return
        child.process = launch.spawn(
            command(*self._commands[name]),
            log=self._log(name),
            at_parents_death=signal.SIGTERM,
            keep_open=[self._lock.fileno()],
            cwd=ROOT,
            env=handed_on(self._environment),
        )

    def _size(self, name: str) -> int:
        log = self._log(name)
        return log.stat().st_size if log.exists() else 0

    def _log(self, name: str) -> Path:
        server = self._servers.running.get(name)
        return server.folder.log if server else self._logs / f"{name}.log"


def handed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a process of ours: this one's, without the owner's address, and `environment`."""
    own = dict(os.environ)  # noqa: TID251 - handed on to a child, not read as settings
    own.pop("TOWPATH_DATABASE_OWNER_URL", None)
    return own | dict(environment)


def command(*words: str) -> list[str]:
    """`towpath` with these words, by this Python."""
    return [sys.executable, "-m", "app.cli", *words]


def say(line: str) -> None:
    """A line for whoever watches; standard output is for results."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()
