"""`towpath up` as a person uses it: once, twice, ended by Ctrl-C, killed, started again."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.embedded import footprint, states
from tests.waiting import until

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "api": "-m app.asgi",
    "worker": "-m celery -A workers.celery worker",
    "control": "-m workers.control",
    "flower": "-m celery -A workers.celery flower",
}


@pytest.fixture
def state() -> Iterator[Path]:
    made = states.temporary()
    yield made
    shutil.rmtree(made, ignore_errors=True)  # after a failure its processes may still be ending


def up(state: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "app.cli", "up", "--data", str(state), *options]


def complete(state: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = up(state, *options)
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def words(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def role(process: psutil.Process) -> str | None:
    """Which of the platform's processes it is: each has become the program it runs."""
    return next((role for role, program in PROGRAMS.items() if program in words(process)), None)


def family(pid: int) -> list[psutil.Process]:
    return [psutil.Process(each) for each in footprint.tree(pid) if psutil.pid_exists(each)]


def living(processes: list[psutil.Process]) -> list[psutil.Process]:
    return [each for each in processes if each.is_running() and each.status() != "zombie"]


async def running(state: Path) -> dict[str, Any]:
    """What `up` wrote once it was ready."""

    async def ready() -> dict[str, Any] | None:
        file = state / "stack.json"
        return json.loads(file.read_text()) if file.exists() else None

    return await until(ready, seconds=120, what="up is ready")


async def test_up_is_single_heals_itself_ends_whole_survives_a_kill_and_shows_the_job(
    state: Path,
) -> None:
    log = (state / "up.log").open("w")
    first = subprocess.Popen(up(state), cwd=ROOT, stdout=log, stderr=log)
    try:
        said = await running(state)

        second = complete(state)
        assert second.returncode == 0
        assert f"already runs on {state}" in second.stderr
        assert said["api_url"] in second.stderr
        assert json.loads((state / "stack.json").read_text()) == said

        worker = next(each for each in family(first.pid) if role(each) == "worker")
        worker.kill()

        async def healed() -> bool:
            roles = {role(each) for each in family(first.pid) if each.pid != worker.pid}
            return roles >= PROGRAMS.keys()

        await until(healed, seconds=60, what="another worker")

        everyone = family(first.pid)
        first.send_signal(signal.SIGINT)
        assert first.wait(60) == 0
        assert living(everyone) == []
        assert not (state / "stack.json").exists()

        again = subprocess.Popen(up(state), cwd=ROOT, stdout=log, stderr=log)
        assert (await running(state))["api_url"] == said["api_url"]
        for each in reversed(family(again.pid)):
            with contextlib.suppress(ProcessLookupError):  # its parent's death ended it first
                os.kill(each.pid, signal.SIGKILL)
        again.wait()

        last = complete(state, "--once", "--json")
        assert last.returncode == 0, last.stderr
        shown = json.loads(last.stdout.splitlines()[-1])
        assert shown["job"]["status"] == "succeeded"
        assert shown["answer"]
        assert shown["citations"]
        assert shown["webhook"]["verified"] is True
        assert shown["audit"]["verified"] is True
        assert shown["memory"]["peak_pss_mb"] < 1_200
        assert [each for each in psutil.process_iter() if str(state) in words(each)] == []
    finally:
        log.close()
        if first.poll() is None:
            first.terminate()
            first.wait(60)
