"""What every test may ask for: a database of its own, a tenant in it, a clock to move."""

import hashlib
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import hypothesis
import psycopg
import pytest
import redis
from psycopg import sql
from sqlalchemy import NullPool
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from app.core import ids
from app.core.db import Database
from app.core.ids import TenantId
from app.embedded import states
from app.embedded import valkey as valkey_server
from app.embedded.valkey import Running as Valkey
from migrations import run as migrations
from tests.arrange import make_tenant

TEMPLATE_LOCK = 7_214_001
# A slow machine is not a fault of what is tested.
hypothesis.settings.register_profile("towpath", deadline=None, max_examples=100)
hypothesis.settings.load_profile("towpath")
MARKERS = {"concurrency": "concurrency", "journeys": "journey", "architecture": "architecture"}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--postgres", help="superuser URL of a running PostgreSQL with pgvector")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    root = Path(__file__).parent
    for item in items:
        folder = Path(item.path).relative_to(root).parts[0]
        if folder in MARKERS:
            item.add_marker(MARKERS[folder])


def with_database(url: str, name: str, user: str | None = None) -> str:
    """The same server, another database, perhaps another role."""
    address = make_url(url).set(database=name)
    if user is not None:
        address = address.set(username=user, password=None)
    return address.render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def postgres(request: pytest.FixtureRequest) -> Iterator[str]:
    """Superuser URL of the server that all tests share, or of one started for this process."""
    given = request.config.getoption("--postgres")
    if given:
        yield str(given)
        return
    from app.embedded import postgres as server  # noqa: PLC0415 - only where none is given

    # Not pytest's own folder: under root the server's user may not enter it.
    folder = states.temporary()
    running = server.start(folder / "pg")
    yield running.superuser_url
    running.stop()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """A Valkey for this process's tests."""
    folder = states.temporary()
    running = valkey_server.start(folder / "vk")
    yield running
    running.stop()
    shutil.rmtree(folder)


@pytest.fixture
def cache_url(valkey: Valkey) -> str:
    """An empty database of it."""
    url = valkey.database(1)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture(scope="session")
def template(postgres: str) -> str:
    """Name of a migrated database that no one is connected to; made once a version of the schema."""
    versions = sorted(Path("migrations/versions").glob("*.py"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in versions)).hexdigest()[:12]
    name = f"template_{digest}"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute("SELECT pg_advisory_lock(%s)", (TEMPLATE_LOCK,))
        for role in ("towpath_owner", "towpath_app"):
            if not admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).fetchone():
                admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
        if not admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,)).fetchone():
            raw = f"{name}_raw"
            admin.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(raw))
            )
            admin.execute(
                sql.SQL("CREATE DATABASE {} OWNER towpath_owner").format(sql.Identifier(raw))
            )
            with psycopg.connect(with_database(postgres, raw), autocommit=True) as made:
                made.execute("CREATE EXTENSION vector")
            migrations.up(with_database(postgres, raw, "towpath_owner"))
            # Renamed at the end: a template that is there is a whole one.
            admin.execute(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                    sql.Identifier(raw), sql.Identifier(name)
                )
            )
    return name


@pytest.fixture
def database(postgres: str, template: str) -> Iterator[str]:
    """Name of a fresh database for this test alone."""
    name = f"test_{ids.new().hex}"
    identifier = sql.Identifier(name)
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER towpath_owner").format(
                identifier, sql.Identifier(template)
            )
        )
        yield name
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(identifier))


@pytest.fixture
def superuser_url(postgres: str, database: str) -> str:
    return with_database(postgres, database)


@pytest.fixture
def owner_url(postgres: str, database: str) -> str:
    return with_database(postgres, database, "towpath_owner")


@pytest.fixture
def app_url(postgres: str, database: str) -> str:
    return with_database(postgres, database, "towpath_app")


@pytest.fixture
def admin(superuser_url: str) -> Iterator[psycopg.Connection]:
    """A superuser's connection in autocommit, for arranging and for tampering."""
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def db(app_url: str) -> AsyncIterator[Database]:
    """The database as the processes see it: as towpath_app, every session a connection of its own."""
    address = make_url(app_url).set(drivername="postgresql+psycopg")
    engine = create_async_engine(address, poolclass=NullPool)
    yield Database(app_url, engine, async_sessionmaker(engine, expire_on_commit=False))
    await engine.dispose()


@pytest.fixture
async def session(db: Database) -> AsyncIterator[AsyncSession]:
    """A session whose transaction is rolled back."""
    async with db.sessions() as open_session:
        yield open_session
        await open_session.rollback()


@pytest.fixture
def tenant(admin: psycopg.Connection) -> TenantId:
    """A tenant with an account of 10 USD."""
    return make_tenant(admin, "acme")
