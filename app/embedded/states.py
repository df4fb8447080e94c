"""State folders: the default one, who may use one, the lock on it, where its sockets are."""

import fcntl
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from hashlib import sha256
from io import FileIO
from pathlib import Path

from app.embedded.errors import FolderInUse, FolderRefused
from app.embedded.launch import Account

SOCKET_PATH_BYTES = 107  # sun_path of Linux, less its zero byte (unix(7))
_PLAIN = re.compile(r"[A-Za-z0-9/._-]+")  # a path that every client reads alike in a URL
MEMORY = Path("/dev/shm")  # noqa: S108 - mkdtemp makes a folder of its own in it
MEMORY_BYTES = 2 * 1024**3  # what must be free there for a server to be trusted to it
ORPHAN_SECONDS = 30.0  # how long the last server of a killed starter may take to end


@dataclass(frozen=True, slots=True)
class Folder:
    """One server's folder, claimed: no other process starts a server in it until `release`."""

    path: Path
    data: Path
    sockets: Path
    log: Path
    account: Account | None
    starter_lock: FileIO
    server_lock: FileIO

    def seal(self) -> None:
        """Once the server listens: under root, nobody's other processes lose the way to it."""
        if self.account:
            os.chown(self.sockets, os.geteuid(), os.getegid())

    def hand_back(self) -> None:
        """The server's own lock is the child's alone from now on: it ends when the child does."""
        self.server_lock.close()

    def release(self) -> None:
        """Let another process have the folder."""
        self.starter_lock.close()

    def abandon(self) -> None:
        """No server was started: both locks go."""
        self.hand_back()
        self.release()


def unprivileged() -> Account | None:
    """Whom the servers run as: None is the caller, `nobody` where the caller is root."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def default(checkout: Path) -> Path:
    """`.towpath` in the checkout; for root, where `nobody` can't reach that, one in /var/lib.

    The latter has the checkout's name and a mark of its path, so that two checkouts don't share it.
    """
    account = unprivileged()
    if account is None or unreachable(account, checkout) is None:
        return checkout / ".towpath"
    mark = sha256(str(checkout).encode()).hexdigest()[:6]
    name = re.sub(r"[^A-Za-z0-9._-]", "-", checkout.name)[:24]
    return Path("/var/lib/towpath") / f"{name}-{mark}"


def prepare(path: Path) -> None:
    """Make a state folder that its servers can reach. Raises FolderRefused, naming it."""
    account = unprivileged()
    mode = 0o711 if account else 0o700
    try:
        for each in (*reversed(path.parents), path):
            if not each.exists():
                each.mkdir()
                each.chmod(mode)  # whatever the umask
        if not any(path.iterdir()):
            path.chmod(mode)  # an empty folder handed to us (mktemp -d) is ours with its mode
    except OSError as error:
        raise FolderRefused(
            f"{path} cannot be made or used ({error.strerror}). Choose another state folder."
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise FolderRefused(f"{path} belongs to another user. Choose another state folder.")
    blocked = unreachable(account, path) if account else None
    if account and blocked:
        raise FolderRefused(
            f"{path} cannot hold the servers' state: under root they run as {account.name!r}, who "
            f"may not enter {blocked}. Choose a folder that every user may enter, in /var/lib say, "
            f"or start as an ordinary user."
        )


def unreachable(account: Account, path: Path) -> Path | None:
    """The first folder on the way to `path` that the account may not enter, or None.

    Asked of the kernel as that user: mode bits alone miss ACLs and read-protected mounts.
    """
    way = [str(each) for each in (*reversed(path.parents), path) if each.exists()]
    script = 'for each; do test -x "$each" || { printf %s "$each"; exit; }; done'
    answer = subprocess.run(  # noqa: S603 - a constant script
        ["/bin/sh", "-c", script, "sh", *way],
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        check=True,
    )
    return Path(os.fsdecode(answer.stdout)) if answer.stdout else None


def claim(path: Path, *, socket_name: str) -> Folder:
    """Take a server's folder for this process, with room for its data and its socket.

    Two locks: the starter's says that a living process has the folder, and the next one is refused
    at once (FolderInUse); the server's is inherited by the server and lives as long as it does, so
    that an orphan of a killed starter is waited for and never joined by a second server.
    """
    prepare(path)
    account, data = unprivileged(), path / "data"
    maker = data.stat().st_uid if data.exists() else None
    if maker not in (None, account.uid if account else os.geteuid()):
        raise FolderRefused(
            f"{path} was made by user {maker}: start as that user, or as another "
            f"user in another folder."
        )
    starter = lock(path / "lock")
    try:
        server = lock(path / "server.lock", seconds=ORPHAN_SECONDS)
        sockets = _socket_folder(path, socket_name)
        _own(sockets, account)
        for stale in sockets.iterdir():
            stale.unlink()
    except BaseException:
        starter.close()
        raise
    return Folder(path, data, sockets, path / "server.log", account, starter, server)


def temporary() -> Path:
    """A fresh folder with a short name, which servers can reach: in memory where there is room, else on disk.

    A database is some seven hundred files: made in 20 ms in memory, in 400 on a busy disk.
    """
    path = Path(tempfile.mkdtemp(prefix="tp-", dir=MEMORY if _roomy(MEMORY) else None))
    prepare(path)
    return path


def _roomy(path: Path) -> bool:
    return os.access(path, os.W_OK | os.X_OK) and shutil.disk_usage(path).free >= MEMORY_BYTES


def lock(path: Path, *, seconds: float = 0) -> FileIO:
    """Take a lock file; who inherits it keeps it too. Raises FolderInUse after `seconds`."""
    file = FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+")
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                file.close()
                raise FolderInUse(f"{path.parent} is in use by a running process.") from None
            threading.Event().wait(0.02)  # flock has no time limit of its own
        else:
            return file


def remembered_port(file: Path, preferred: int = 0) -> int:
    """The loopback port this file holds, if it is free; else `preferred`, else any. Remembers it."""
    held = file.read_text().strip() if file.exists() else ""
    for port in (int(held) if held.isdecimal() else 0, preferred, 0):
        free = free_port(port)
        if free:
            file.write_text(f"{free}\n")
            return free
    raise FolderRefused("No free port on 127.0.0.1.")


def free_port(port: int) -> int | None:
    """This port of loopback if it is free (0: one that is), or None."""
    with socket.socket() as probe:
        # As servers do: connections of the last run that still time out do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return None
        return int(probe.getsockname()[1])


def make_private(path: Path, account: Account | None) -> None:
    """An empty folder that only the server's user may enter."""
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(mode=0o700)
    _own(path, account)


def _own(path: Path, account: Account | None) -> None:
    path.chmod(0o700)
    if account:
        os.chown(path, account.uid, account.gid)


def _socket_folder(path: Path, socket_name: str) -> Path:
    """`run` in the folder, or, where its path is too long or odd for a URL, a short one it points to."""
    here = path / "run"
    if _fits(here, socket_name):
        here.mkdir(mode=0o700, exist_ok=True)
        return here
    if here.is_symlink():
        there = here.readlink()
        if _fits(there, socket_name) and _is_ours(there):
            return there
        here.unlink()
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp makes it 0700
        there = Path(tempfile.mkdtemp(prefix="towpath-", dir=parent))
        if _fits(there, socket_name):
            here.symlink_to(there)
            return there
        there.rmdir()
    raise FolderRefused(f"{path} is too long for Unix sockets, and so is the temporary folder.")


def _fits(folder: Path, socket_name: str) -> bool:
    text = str(folder / socket_name)
    return len(os.fsencode(text)) <= SOCKET_PATH_BYTES and bool(_PLAIN.fullmatch(text))


def _is_ours(folder: Path) -> bool:
    """The temporary folder is shared: after a reboot anyone may have made one of this name."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    account = unprivileged()
    return folder.stat().st_uid in {os.geteuid(), *([account.uid] if account else [])}
