"""Folders that servers may use, and a process that starts servers and may be killed."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil
import pytest

from app.embedded import states
from tests.waiting import until


@dataclass
class Holder:
    """Another process that has started servers in a folder, and what it said of them."""

    process: subprocess.Popen[str]
    said: dict[str, Any]

    @classmethod
    def start(cls, folder: Path, *names: str) -> Self:
        command = [sys.executable, "-m", "tests.embedded.holder", str(folder), *names]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        with process.stdout as out:
            line = out.readline()
        assert line, "the holder ended without a word"
        return cls(process, json.loads(line))

    def server(self, name: str) -> psutil.Process:
        return psutil.Process(self.said["pids"][name])

    def kill(self) -> None:
        """SIGKILL to it alone."""
        self.process.kill()
        self.process.wait()

    def kill_everything(self) -> None:
        """SIGKILL to it, its servers and all their children, the servers first."""
        for name in self.said["pids"]:
            server = self.server(name)
            for each in (server, *server.children(recursive=True)):
                os.kill(each.pid, signal.SIGKILL)
        self.kill()


def has_ended(process: psutil.Process) -> bool:
    """Also where no one has reaped it yet: init does that for orphans, at its leisure."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def until_ended(process: psutil.Process) -> None:
    async def ended() -> bool:
        return has_ended(process)

    await until(ended)


@pytest.fixture
def folder() -> Iterator[Path]:
    made = states.temporary()
    yield made
    for link in made.glob("*/run"):
        if link.is_symlink():
            shutil.rmtree(link.readlink())
    shutil.rmtree(made)


@pytest.fixture
def holder(folder: Path) -> Iterator[Callable[..., Holder]]:
    """Start one with `holder("postgres")`; what still lives at the end is killed."""
    started: list[Holder] = []

    def start(*names: str) -> Holder:
        started.append(Holder.start(folder, *names))
        return started[-1]

    yield start
    for each in started:
        each.kill()
        for pid in each.said["pids"].values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
