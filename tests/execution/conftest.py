"""A worker's runtime in this process, on a real database and the fake provider, without Celery."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.attempts.config import LeaseConfig
from app.budgets import ledger
from app.core.db import Database
from app.core.ids import JobId, TenantId
from app.execution import heartbeat, runner
from app.execution import runtime as running
from app.execution.config import ExecutionConfig
from app.execution.runtime import Runtime
from app.files import store
from app.jobs import transitions
from app.jobs.transitions import Released
from app.llm import gateway
from app.llm.config import LlmConfig
from app.retrieval import embedding
from app.retrieval.embedding import Embedder
from app.tools import calling, registry
from app.usage import pricing
from tests.arrange import grant_tool, heads, make_jobs, make_workflow
from tests.fakes import provider
from tests.fakes.far_end import FarEnd
from tests.fakes.provider import Provider


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return embedding.open_embedder()


@pytest.fixture
async def fake() -> AsyncIterator[Provider]:
    async with provider.serving() as serving:
        yield serving


@pytest.fixture
def far() -> FarEnd:
    return FarEnd()


@dataclass(slots=True)
class Shop:
    """A runtime with a way to give it work."""

    runtime: Runtime
    admin: psycopg.Connection
    tenant: TenantId

    def job(
        self, definition: dict[str, Any], given: dict[str, Any] | None = None, **columns: Any
    ) -> JobId:
        """One queued job of a workflow made for it."""
        version = make_workflow(self.admin, self.tenant, definition)
        extra = columns | {"workflow": definition["name"]}
        [job] = make_jobs(self.admin, self.tenant, version, **extra)
        self.admin.execute(
            "UPDATE job SET input = %s WHERE id = %s", (psycopg.types.json.Jsonb(given or {}), job)
        )
        return job

    async def dispatch(self, job: JobId | None = None) -> Released:
        async with await self.runtime.db.connect_hot() as connection:
            jobs = [job] if job is not None else await heads(connection, self.tenant)
            [item] = await transitions.dispatch(connection, jobs, timedelta(seconds=5))
        return item

    async def run(self, job: JobId | None = None) -> None:
        """Dispatch a job, or the next one, and run its attempt to the end."""
        item = await self.dispatch(job)
        await runner.run(self.runtime, item.job, item.attempt)

    async def beat(self) -> None:
        async with await self.runtime.db.connect_hot() as connection:
            await heartbeat.beat(self.runtime, connection, ("standard",), 10)

    def state(self, job: JobId, *columns: str) -> tuple[Any, ...]:
        names = ", ".join(("state", *columns))
        row = self.admin.execute(f"SELECT {names} FROM job WHERE id = %s", (job,)).fetchone()
        assert row is not None
        return tuple(row)

    def due(self) -> None:
        self.admin.execute(
            "UPDATE job SET state = 'queued', waiting_for = NULL, wake_at = NULL WHERE state = 'waiting'"
        )


@pytest.fixture
async def shop(
    db: Database,
    admin: psycopg.Connection,
    tenant: TenantId,
    fake: Provider,
    embedder: Embedder,
    far: FarEnd,
    tmp_path: Path,
) -> AsyncIterator[Shop]:
    async with db.transaction() as session:
        await pricing.seed(session)
    for tool in far.tools():
        grant_tool(admin, tenant, tool.name)
    book = ledger.open_ledger(db)
    routes = gateway.open_gateway(LlmConfig(), book, db, embedded_url=fake.base_url)
    runtime = running.open_runtime(
        db, ExecutionConfig(), LeaseConfig(), ledger_=book, gateway=routes, embedder=embedder,
        store=store.open_store(tmp_path),
        tools=calling.open_toolbox(db, registry.build(registry.PURE, far.tools())),
    )  # fmt: skip
    yield Shop(runtime, admin, tenant)
    await runtime.close()
    await gateway.close(routes)
    await ledger.close(book)
