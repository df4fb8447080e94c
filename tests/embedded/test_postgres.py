"""PostgreSQL from the wheel: its roles, its one socket, and what survives a kill."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg import errors

from app.embedded import launch, postgres, states
from app.embedded.errors import FolderInUse, ServerFailed
from tests.embedded.conftest import Holder, has_ended


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Running]:
    folder = states.temporary()
    running = postgres.start(folder / "pg")
    yield running
    running.stop()
    shutil.rmtree(folder)


def one(url: str, query: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def test_it_is_postgres_18_with_vectors(server: postgres.Running) -> None:
    assert one(server.app_url, "SELECT current_setting('server_version_num')::int / 10000") == 18
    assert one(server.app_url, "SELECT '[3,4]'::vector <-> '[0,0]'") == 5.0


def test_the_owner_makes_tables_and_is_no_superuser(server: postgres.Running) -> None:
    assert one(server.owner_url, "SELECT current_user") == "towpath_owner"
    with psycopg.connect(server.owner_url) as connection:
        connection.execute("CREATE TABLE thing (id int)")
    query = "SELECT bool_or(rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls) FROM pg_roles WHERE rolname IN ('towpath_owner', 'towpath_app')"
    assert one(server.owner_url, query) is False


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE mine (id int)", "CREATE TEMP TABLE t (id int)", "CREATE SCHEMA s"]
)
def test_the_app_role_makes_nothing(server: postgres.Running, statement: str) -> None:
    assert one(server.app_url, "SELECT current_user") == "towpath_app"
    with psycopg.connect(server.app_url) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement.encode())


def test_it_opens_no_port(server: postgres.Running) -> None:
    own = psutil.Process(server.process.pid)
    family = [own, *own.children(recursive=True)]
    assert [each.net_connections("inet") for each in family] == [[] for _ in family]


def test_it_never_runs_as_root(server: postgres.Running) -> None:
    uids = psutil.Process(server.process.pid).uids()
    assert 0 not in (uids.real, uids.effective, uids.saved)


def test_no_other_user_may_reach_its_socket(server: postgres.Running) -> None:
    status = server.folder.sockets.stat()
    assert (status.st_mode & 0o777, status.st_uid) == (0o700, os.geteuid())


def test_a_second_start_is_refused_at_once(server: postgres.Running) -> None:
    with pytest.raises(FolderInUse, match=str(server.folder.path)):
        postgres.start(server.folder.path)
    assert one(server.app_url, "SELECT 1") == 1


def test_no_acknowledged_row_is_lost_when_everything_is_killed(
    folder: Path, holder: Callable[..., Holder]
) -> None:
    first = holder("postgres")
    with psycopg.connect(first.said["owner_url"], autocommit=True) as connection:
        connection.execute("CREATE TABLE thing (id int)")
        for number in range(50):
            connection.execute("INSERT INTO thing VALUES (%s)", (number,))
        first.kill_everything()
    again = postgres.start(folder / "postgres")
    try:
        assert one(again.owner_url, "SELECT count(*) FROM thing") == 50
    finally:
        again.stop()


def test_it_ends_with_its_starter_and_the_next_start_waits_for_that(
    folder: Path, holder: Callable[..., Holder]
) -> None:
    first = holder("postgres")
    orphan = first.server("postgres")
    orphan.suspend()  # as slow to end as can be: it only ends once it is resumed
    first.kill()
    waker = subprocess.Popen(["/bin/sh", "-c", f"sleep 0.3; kill -CONT {orphan.pid}"])
    again = postgres.start(folder / "postgres")
    try:
        assert has_ended(orphan)
        assert one(again.app_url, "SELECT 1") == 1
    finally:
        again.stop()
        waker.wait()


def test_a_stale_pid_file_that_names_a_living_process_is_no_obstacle(folder: Path) -> None:
    first = postgres.start(folder / "postgres")
    pid_file = first.folder.data / "postmaster.pid"
    content = pid_file.read_text().splitlines()
    first.stop()
    # One of the same user: PostgreSQL itself would take it for the server and refuse.
    stranger = launch.spawn(
        ["/bin/sleep", "60"],
        log=folder / "stranger.log",
        at_parents_death=signal.SIGKILL,
        account=first.folder.account,
    )
    pid_file.write_text("\n".join([str(stranger.pid), *content[1:]]) + "\n")
    again = postgres.start(folder / "postgres")
    assert one(again.app_url, "SELECT 1") == 1
    again.stop()
    launch.stop(stranger)


def test_an_initdb_cut_short_is_made_again(folder: Path) -> None:
    half = folder / "postgres" / "data.half" / "base"
    half.mkdir(parents=True)
    if os.geteuid() == 0:
        (folder / "postgres").chmod(0o711)
    running = postgres.start(folder / "postgres")
    assert one(running.app_url, "SELECT 1") == 1
    running.stop()


def test_a_long_or_odd_path_keeps_its_socket_elsewhere(folder: Path) -> None:
    deep = folder / ("a folder with spaces & more, " + "x" * 90)
    running = postgres.start(deep)
    try:
        assert len(str(running.folder.sockets)) < 80
        assert one(running.app_url, "SELECT 1") == 1
        before = running.folder.sockets
    finally:
        running.stop()
    again = postgres.start(deep)
    assert again.folder.sockets == before
    again.stop()
    (deep / "run").rename(folder / "pg-run")  # where the fixture looks for what to remove
    shutil.rmtree(before)
    (folder / "pg-run").unlink()


def test_a_failed_start_says_why_and_lets_the_folder_go(folder: Path) -> None:
    with pytest.raises(ServerFailed, match="unrecognized configuration parameter"):
        postgres.start(folder / "postgres", settings={"no_such_setting": "1"})
    running = postgres.start(folder / "postgres")
    running.stop()


def test_the_starters_environment_does_not_reach_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGDATA", "/nowhere")
    running = postgres.start(folder / "postgres")
    told = psutil.Process(running.process.pid).environ()
    running.stop()
    assert (told["TZ"], "PGDATA" in told) == ("UTC", False)
