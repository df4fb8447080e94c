"""A real server on a real database, in the test's own loop."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
import uvicorn

from app.api import application, openapi
from app.audit.trail import Actor
from app.bootstrap import platform
from app.bootstrap.settings import Settings
from app.core.db import Database
from app.core.ids import TenantId
from app.tenants import keys
from app.usage import pricing
from app.workflows import versions
from tests.api.client import NOOP, Client
from tests.api.contract import Contract
from tests.arrange import make_tenant
from tests.waiting import until

OPERATOR = Actor("operator", "test")


@pytest.fixture
def settings(app_url: str, cache_url: str, tmp_path: Path) -> Settings:
    return Settings(database_url=app_url, cache_url=cache_url, state_dir=tmp_path)


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[str]:
    """An API on these settings; gives where it answers."""
    app = application.build(lambda: platform.open_api(settings), body_bytes=settings.api.body_bytes)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, http="httptools", log_config=None, access_log=False)
        server = uvicorn.Server(config)
        served = asyncio.create_task(server.serve(sockets=[listening]))
        await until(_started(server))
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        server.should_exit = True
        await served


@pytest.fixture
async def url(settings: Settings) -> AsyncIterator[str]:
    """Where the API answers."""
    async with serving(settings) as where:
        yield where


@pytest.fixture
async def secret(db: Database, tenant: TenantId) -> str:
    """A key of the tenant with every scope but the operators', and a workflow to run."""
    async with db.transaction() as session:
        await versions.push(session, tenant, NOOP, actor=OPERATOR)
        scopes = keys.SCOPES - {keys.ADMIN}
        return (await keys.issue(session, tenant, "tests", scopes, actor=OPERATOR)).secret


@pytest.fixture(scope="session")
def contract() -> Contract:
    """What the API promises, made once."""

    async def unopened() -> platform.ApiPlatform:
        raise AssertionError("nothing is served here")

    return Contract(openapi.document(application.build(unopened, body_bytes=1)))


@pytest.fixture
async def api(url: str, secret: str, contract: Contract) -> AsyncIterator[Client]:
    """A client with every scope of its tenant; each answer is held against the OpenAPI document."""
    async with Client(url, secret, contract) as client:
        yield client


@pytest.fixture
async def stranger(
    url: str, db: Database, admin: psycopg.Connection, contract: Contract
) -> AsyncIterator[Client]:
    """A client of another tenant."""
    other = make_tenant(admin, "other")
    async with db.transaction() as session:
        await versions.push(session, other, NOOP, actor=OPERATOR)
        issued = await keys.issue(session, other, "tests", keys.SCOPES, actor=OPERATOR)
    async with Client(url, issued.secret, contract) as client:
        yield client


def _started(server: uvicorn.Server) -> Callable[[], Awaitable[bool]]:
    async def started() -> bool:
        return server.started

    return started


@pytest.fixture
async def ingesting(secret: str, stranger: Client, db: Database, admin: psycopg.Connection) -> None:
    """Every tenant has the shipped workflows, so that documents can be uploaded."""
    tenants = [row[0] for row in admin.execute("SELECT id FROM tenant").fetchall()]
    async with db.transaction() as session:
        await pricing.seed(session)
        for tenant in tenants:
            await versions.push_shipped(session, tenant)
