"""The scripts that containers run, on a real server: the roles, the probe of progress."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from app.embedded import postgres, programs, states

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def fresh() -> Iterator[postgres.Running]:
    """A server as the image makes it: without our roles."""
    folder = states.temporary()
    running = postgres.start(folder / "pg")
    maintenance = running.superuser_url.replace("/towpath?", "/postgres?")
    with psycopg.connect(maintenance, autocommit=True) as admin:
        admin.execute("DROP DATABASE towpath")
        admin.execute("DROP ROLE towpath_owner, towpath_app")
    yield running
    running.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def made(fresh: postgres.Running) -> postgres.Running:
    """The same after the image's first start ran the script."""
    binaries = programs.postgres(fresh.folder.path, None)
    environment = {
        "PATH": f"{binaries}:/usr/bin:/bin",
        "PGHOST": str(fresh.folder.sockets),
        "POSTGRES_USER": postgres.ADMIN,
        "OWNER_PASSWORD": "it's one",
        "APP_PASSWORD": "another",
    }
    script = ROOT / "deploy/postgres/roles.sh"
    assert os.access(script, os.X_OK)
    done = subprocess.run([script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return fresh


def test_the_first_start_makes_the_roles_and_the_database(made: postgres.Running) -> None:
    with psycopg.connect(made.owner_url) as owner:
        owner.execute("CREATE TABLE thing (embedding vector(3))")
    with psycopg.connect(made.app_url) as app, pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute("CREATE TABLE mine (id int)")
    with psycopg.connect(made.superuser_url) as admin:
        query = "SELECT bool_and(rolpassword LIKE 'SCRAM-SHA-256$%') FROM pg_authid WHERE rolname LIKE 'towpath_%' AND NOT rolsuper"
        assert admin.execute(query).fetchone() == (True,)


def probe(url: str) -> int:
    command = [sys.executable, str(ROOT / "deploy/health.py")]
    return subprocess.run(command, env={"TOWPATH_DATABASE_URL": url}, check=False).returncode


def test_a_process_that_speaks_to_the_database_is_healthy_and_a_silent_one_is_not(
    made: postgres.Running,
) -> None:
    assert probe(made.app_url) == 1
    with psycopg.connect(made.app_url, autocommit=True) as process:
        process.execute("SELECT 1")
        assert probe(made.app_url) == 0
    assert probe(made.app_url) == 1
