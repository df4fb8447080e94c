"""Journeys: the whole path with real servers of their own, which a test may kill, and the fake provider."""

import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from app.embedded import postgres, states, valkey
from migrations import run as migrations
from tests.fakes import provider, receiver
from tests.fakes.provider import Provider
from tests.fakes.receiver import Receiver
from tests.stack import Stack, opened

CLEAN = "clean"  # a migrated database that no one is connected to
THREE_STEPS: dict[str, Any] = {
    "name": "three_steps",
    "input": {"type": "object"},
    "steps": [
        {
            "id": name,
            "kind": "model",
            "prompt": "plain@1",
            "in": {"text": f"say {name}"},
            "max_tokens": 8,
        }
        for name in ("first", "second", "third")
    ],
    "output": {"last": "=steps.third.text"},
}


@dataclass(slots=True)
class Servers:
    """Postgres and Valkey of this test run, and the folder they live in.

    Both end with the thread that started them: they are restarted from the main one.
    """

    folder: Path
    database: postgres.Running
    broker: valkey.Running

    def beside(self) -> psycopg.Connection:
        """A superuser's connection to the server, in autocommit, not to the database of the stack."""
        url = make_url(self.database.superuser_url).set(database="postgres")
        return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)

    def restart_database(self) -> None:
        """Immediate shutdown, as a crash, then up again on the same folder and address."""
        self.database.process.kill()
        self.database.process.wait()
        self.database.folder.release()
        self.database = postgres.start(self.folder / "pg")

    def restart_broker(self) -> None:
        """A stop without saving, and an empty folder."""
        self.broker.process.kill()
        self.broker.process.wait()
        self.broker.folder.release()
        self.broker = valkey.start(self.folder / "vk")


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    folder = states.temporary()
    running = Servers(folder, postgres.start(folder / "pg"), valkey.start(folder / "vk"))
    migrations.up(running.database.owner_url)
    with running.beside() as admin:
        admin.execute(f"CREATE DATABASE {CLEAN} TEMPLATE {postgres.DATABASE}")
    yield running
    running.broker.stop()
    running.database.stop()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def fake() -> AsyncIterator[Provider]:
    async with provider.serving() as serving:
        yield serving


@pytest.fixture
async def hooks() -> AsyncIterator[Receiver]:
    async with receiver.receiving() as receiving:
        yield receiving


@pytest.fixture
async def stack(
    servers: Servers, fake: Provider, hooks: Receiver, tmp_path: Path
) -> AsyncIterator[Stack]:
    """A stack on a clean schema; its processes' logs are shown when the test fails."""
    database = servers.database
    with servers.beside() as admin:
        admin.execute(f"DROP DATABASE {postgres.DATABASE} WITH (FORCE)")
        admin.execute(
            f"CREATE DATABASE {postgres.DATABASE} TEMPLATE {CLEAN} OWNER {postgres.OWNER}"
        )
    settings = {
        "TOWPATH_WEBHOOKS__ALLOWED_PRIVATE": f'["127.0.0.1:{hooks.port}"]',
        "TOWPATH_LEASES__RUNNING": "PT3S",  # half the default: what dies is missed sooner
        "PYTHONPATH": str(Path(__file__).parents[1] / "fakes" / "far_tools"),  # a package of tools
        "FAR_END": f"http://{hooks.host}:{hooks.port}/far",  # where they act
    }
    async with opened(
        superuser_url=database.superuser_url, app_url=database.app_url,
        broker_url=servers.broker.broker(0), folder=tmp_path, provider_url=fake.base_url,
        settings=settings,
    ) as running:  # fmt: skip
        await running.push(THREE_STEPS)
        yield running
    for log in sorted(tmp_path.glob("*.log")):
        print(f"--- {log.name}\n{log.read_text()[-6000:]}")  # noqa: T201 - pytest shows it on failure
