"""Children that die with their parent, and how to wait for them and end them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from app.embedded.errors import ServerFailed

_CHILD = Path(__file__).with_name("_child.py")
_ROTATE_BYTES = 16 * 1024 * 1024
# No PGPORT, PGDATA or LD_PRELOAD of the person who starts it may reach a server.
SERVER_ENVIRONMENT: Mapping[str, str] = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


@dataclass(frozen=True, slots=True)
class Account:
    """The user a server runs as where the caller is root."""

    name: str
    uid: int
    gid: int


def spawn(
    command: Iterable[str | Path],
    *,
    log: Path,
    at_parents_death: signal.Signals,
    account: Account | None = None,
    keep_open: Iterable[int] = (),
    cwd: Path | None = None,
    env: Mapping[str, str] | None = SERVER_ENVIRONMENT,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own (a Ctrl-C of the terminal is ours to pass on).

    Call it from the main thread. `env` None: the caller's own environment.
    """
    who = (str(account.uid), str(account.gid)) if account else ("-", "-")
    birth = [sys.executable, "-I", "-S", str(_CHILD), str(os.getpid()), str(int(at_parents_death))]
    with _open_log(log) as out:
        return subprocess.Popen(  # noqa: S603 - our own binaries
            [*birth, *who, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            pass_fds=tuple(keep_open),
            cwd=cwd or "/",
            env=env,
        )


def _open_log(log: Path) -> BinaryIO:
    if log.exists() and log.stat().st_size > _ROTATE_BYTES:
        log.replace(log.with_suffix(".old.log"))
    # A server's log may quote what it was asked.
    return os.fdopen(os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


def wait_until_ready(
    name: str,
    process: subprocess.Popen[bytes],
    ready: Callable[[], bool],
    log: Path,
    *,
    seconds: float = 60,
) -> None:
    """Return once `ready` says so. Raises ServerFailed where the process ends or time runs out."""
    end = time.monotonic() + seconds
    while not ready():
        try:
            status = process.wait(timeout=0.02)
        except subprocess.TimeoutExpired:
            if time.monotonic() < end:
                continue
            raise ServerFailed(
                f"{name} did not answer within {seconds:.0f} s.\n{tail(log)}"
            ) from None
        raise ServerFailed(f"{name} ended with status {status}.\n{tail(log)}")


def stop(process: subprocess.Popen[bytes], *signals: signal.Signals, seconds: float = 20) -> None:
    """End a child: each signal in turn, `seconds` apart, and SIGKILL in the end."""
    for each in (*signals, signal.SIGKILL):
        if process.poll() is not None:
            return
        process.send_signal(each)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            continue


def tail(log: Path, lines: int = 12, *, since: int = 0) -> str:
    """The end of a log, from a byte on, with its path, for the message of an error."""
    written = log.read_bytes()[since:] if log.exists() else b""
    last = written.decode(errors="replace").splitlines()[-lines:]
    return "\n".join([f"The end of {log}:", *(f"  {line}" for line in last)])
