"""Every process real: an API, workers, control, on a database and a broker of their own.

Journeys and benches use it. Processes are started as an operator would start them, and killed by pid.
"""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import psycopg
from psycopg.rows import dict_row

from app.audit.trail import Actor
from app.bootstrap import tenancy
from app.core import ids
from app.core.db import open_database
from app.core.ids import TenantId
from app.tenants import keys
from app.usage import pricing
from tests.waiting import until

ROOT: Final = Path(__file__).parent.parent
OPERATOR: Final = Actor("operator", "tests")
SCOPES: Final = (
    "jobs:write", "jobs:read", "workflows:write", "workflows:read", "collections:write",
    "collections:read", "webhooks:write", "usage:read", "budgets:write", "keys:write", "audit:read",
)  # fmt: skip


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended, with its attempts' outcomes in order and how often each step was recorded."""

    state: str
    output: Any
    error: dict[str, Any] | None
    attempts: list[str]
    steps: dict[str, int]


@dataclass(slots=True)
class Stack:
    """Running processes and ways to talk to them."""

    superuser_url: str
    env: dict[str, str]
    folder: Path
    port: int
    tenant: TenantId
    key: str
    http: aiohttp.ClientSession
    slots: int = 50
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, name: str, *arguments: str, as_name: str | None = None) -> None:
        """Start `towpath <name>`, its output into a file of the stack's folder."""
        label = as_name or name
        log = (self.folder / f"{label}.log").open("ab")
        self.processes[label] = subprocess.Popen(
            [sys.executable, "-m", "app.cli", name, *arguments],
            cwd=ROOT, env=self.env, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        log.close()

    async def start_api(self) -> None:
        self.start("api", "--port", str(self.port))
        await until(self._api_up, seconds=120, what="the API answers")

    async def start_worker(self, label: str = "worker", *options: str) -> None:
        before = await self.value("SELECT count(*) FROM worker")
        self.start("worker", "--slots", str(self.slots), *options, as_name=label)

        async def entered() -> bool:
            return bool(await self.value("SELECT count(*) FROM worker") > before)

        await until(entered, seconds=120, what="the worker beats")

    def kill(self, label: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Signal a process's whole group; after SIGKILL it is gone when this returns."""
        process = self.processes[label]
        os.killpg(process.pid, number)
        if number == signal.SIGKILL:
            process.wait()
            del self.processes[label]

    async def stop(self, label: str, seconds: float = 40) -> int:
        """End a process by SIGTERM. Gives its exit status."""
        process = self.processes.pop(label)
        process.terminate()
        return await asyncio.to_thread(process.wait, seconds)

    async def _api_up(self) -> bool:
        try:
            async with self.http.get(f"{self.url}/healthz") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def call(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """One API call with the tenant's key: status and JSON body."""
        headers = {"Authorization": f"Bearer {self.key}"} | options.pop("headers", {})
        async with self.http.request(method, self.url + path, headers=headers, **options) as answer:
            return answer.status, await answer.json(content_type=None)

    async def post_job(
        self,
        workflow: str,
        given: dict[str, Any] | None = None,
        *,
        key: str | None = None,
        **fields: Any,
    ) -> str:
        """Admit a job. Gives its wire id."""
        headers = {} if key is None else {"Idempotency-Key": key}
        body = {"workflow": workflow, "input": given or {}} | fields
        status, answer = await self.call("POST", "/v1/jobs", json=body, headers=headers)
        assert status == 202, answer
        return str(answer["id"])

    async def push(self, definition: dict[str, Any]) -> None:
        path = f"/v1/workflows/{definition['name']}/versions"
        status, answer = await self.call("POST", path, json=definition)
        assert status in (200, 201), answer

    async def rows(self, query: str, *bind: Any) -> list[dict[str, Any]]:
        """Rows by plain SQL, as the superuser."""
        connection = await psycopg.AsyncConnection.connect(
            self.superuser_url, autocommit=True, row_factory=dict_row
        )
        async with connection:
            return await (await connection.execute(query, bind)).fetchall()

    async def value(self, query: str, *bind: Any) -> Any:
        """The first column of the first row."""
        [row] = await self.rows(query, *bind)
        return next(iter(row.values()))

    async def ended(self, job: str, seconds: float = 60) -> Ended:
        """Wait until a job has ended, and tell how."""

        async def terminal() -> dict[str, Any] | None:
            status, view = await self.call("GET", f"/v1/jobs/{job}")
            assert status == 200, view
            done = view["status"] in ("succeeded", "failed", "cancelled", "expired")
            return dict(view) if done else None

        view = await until(terminal, seconds=seconds, what=f"{job} ends")
        raw = await self.raw(job)
        attempts = await self.rows(
            "SELECT outcome FROM attempt WHERE job = %s ORDER BY number", raw
        )
        steps = await self.rows(
            "SELECT name, count(*) AS times FROM step WHERE job = %s AND state = 'succeeded' GROUP BY name",
            raw,
        )
        return Ended(
            view["status"], view["output"], view["error"],
            [row["outcome"] for row in attempts], {row["name"]: row["times"] for row in steps},
        )  # fmt: skip

    async def raw(self, job: str) -> Any:
        """The database's id behind a wire id."""

        return ids.parse("job", job)

    async def close(self) -> None:
        """End every process; the stubborn by SIGKILL."""
        for process in self.processes.values():
            process.terminate()
        for label, process in list(self.processes.items()):
            try:
                await asyncio.to_thread(process.wait, 15)
            except subprocess.TimeoutExpired:
                self.kill(label)
        self.processes.clear()
        await self.http.close()


@asynccontextmanager
async def opened(
    *,
    superuser_url: str,
    app_url: str,
    broker_url: str,
    folder: Path,
    provider_url: str | None = None,
    slots: int = 50,
    limit_nanousd: int = 1_000_000_000_000,
    start: Sequence[str] = ("api", "control", "worker"),
    settings: dict[str, str] | None = None,
) -> AsyncIterator[Stack]:
    """A stack on a migrated database: a tenant with a key and prices, and the processes asked for."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TOWPATH_")}  # noqa: TID251
    env |= {
        "TOWPATH_DATABASE_URL": app_url,
        "TOWPATH_BROKER_URL": broker_url,
        "TOWPATH_STATE_DIR": str(folder),
        "TOWPATH_SECRETS__KEY_FILE": str(folder / "secrets.key"),
    }
    if provider_url is not None:
        env["TOWPATH_LLM_BASE_URL"] = provider_url
    env |= settings or {}
    db = open_database(app_url, pool_size=2)
    async with db.transaction() as session:
        await pricing.seed(session)
        tenant = await tenancy.create(
            session, "acme", "Acme", limit_nanousd=limit_nanousd, actor=OPERATOR, max_running=10_000
        )
        issued = await keys.issue(session, tenant, "tests", SCOPES, actor=OPERATOR)
    await db.close()
    http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    stack = Stack(superuser_url, env, folder, free_port(), tenant, issued.secret, http, slots)
    try:
        # All at once: each takes seconds to import what it needs.
        starting = []
        if "worker" in start:
            starting.append(stack.start_worker())
        if "api" in start:
            starting.append(stack.start_api())
        if "control" in start:
            stack.start("control")
        await asyncio.gather(*starting)
        yield stack
    finally:
        await stack.close()
