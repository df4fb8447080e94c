"""What `towpath up` shows when it is up: one real job, from a question to a cited answer, with its money,
its webhook and its audit trail. All of it goes through the public API, with a key of a tenant called demo.
"""

import asyncio
import contextlib
import hashlib
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import aiohttp
from rich.console import Console
from rich.progress import Progress

from app.audit import trail, verification
from app.bootstrap import tenancy
from app.cli import listen
from app.cli.listen import Received
from app.cli.stack import Started
from app.core.db import Database, open_database
from app.core.errors import TowpathError, Unavailable
from app.core.ids import TenantId
from app.tenants import directory, keys
from app.usage import pricing
from app.workflows import versions

CORPUS: Final = Path(__file__).parents[2] / "docs"
FOLDERS: Final = ("handbook", "guide")
COLLECTION: Final = "handbook"
SLUG: Final = "demo"
QUESTION: Final = "How long is an idempotency key kept?"
LIMIT_NANOUSD: Final = 5_000_000_000  # five dollars: thousands of answers of the embedded model
MAX_COST: Final = "0.01"
WAIT_SECONDS: Final = 30
SCOPES: Final = (
    "jobs:write", "jobs:read", "workflows:write", "workflows:read", "collections:write",
    "collections:read", "webhooks:write", "usage:read", "budgets:write", "keys:write", "audit:read",
)  # fmt: skip
OPERATOR: Final = trail.Actor("operator", "towpath up")

_console: Final = Console(stderr=True)


class DemoFailed(TowpathError):
    """The demonstration did not work; the message says where."""

    code = "demo_failed"


async def show(started: Started) -> dict[str, Any]:
    """Run the main job once. Gives what `--json` prints. Raises DemoFailed."""
    db = open_database(started.environment["TOWPATH_DATABASE_URL"], pool_size=2)
    try:
        tenant, key = await _tenant(db, started.state / "demo.key")
        received: list[Received] = []
        host, _, port = started.receiver.partition(":")
        secrets: list[str] = []
        async with (
            _client(started.api_url, key) as api,
            listen.receiving(
                host, int(port), lambda: secrets[-1] if secrets else None, received.append
            ),
        ):
            endpoint, secret = await _endpoint(api, started.receiver)
            secrets.append(secret)
            try:
                return await _run(api, db, tenant, received, started)
            finally:
                await api.call("DELETE", f"/v1/webhook_endpoints/{endpoint}")
    finally:
        await db.close()


async def _run(
    api: "_Api", db: Database, tenant: TenantId, received: list[Received], started: Started
) -> dict[str, Any]:
    seconds: dict[str, float] = {}
    began = time.monotonic()
    documents = await _ingest(api)
    seconds["ingest"] = round(time.monotonic() - began, 2)
    began = time.monotonic()
    job = await _ask(api, f"demo-{int(time.time())}")
    seconds["answer"] = round(time.monotonic() - began, 2)
    if job["status"] != "succeeded":
        raise DemoFailed(f"The job has {job['status']}: {json.dumps(job['error'])}")
    steps = (await api.call("GET", f"/v1/jobs/{job['id']}/steps"))["data"]
    receipt = await api.call("GET", f"/v1/jobs/{job['id']}/receipt")
    hook = await _hook(received, job["id"])
    audit = await _audit(db, tenant)
    output = job["output"]
    _print(job, steps, receipt, hook, audit, started)
    return {
        "job": job,
        "answer": output["answer"],
        "citations": output["citations"],
        "steps": steps,
        "webhook": hook,
        "usage": receipt["usage"],
        "audit": audit,
        "documents": documents,
        "seconds": seconds,
    }


class _Api:
    """The API under the demo's key."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self._url = url

    async def call(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of a good answer. Raises DemoFailed with the problem of a bad one."""
        try:
            async with self._http.request(method, self._url + path, **options) as answer:
                body = await answer.json(content_type=None) if answer.status != 204 else None
                if answer.status >= 400:
                    raise DemoFailed(
                        f"{method} {path} answered {answer.status}: {json.dumps(body)}"
                    )
                return body
        except aiohttp.ClientError as error:
            raise Unavailable(f"{method} {path}: {error}") from error


@contextlib.asynccontextmanager
async def _client(url: str, key: str) -> AsyncIterator[_Api]:
    headers = {"Authorization": f"Bearer {key}"}
    timeout = aiohttp.ClientTimeout(total=WAIT_SECONDS + 30)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
        yield _Api(http, url)


async def _tenant(db: Database, kept: Path) -> tuple[TenantId, str]:
    """The demo's tenant and a key of it, kept in a file that only its owner reads; made on first use."""
    async with db.transaction() as session:
        await pricing.seed(session)
        found = await directory.by_slug(session, SLUG)
        tenant = found.id if found is not None else None
        if tenant is None:
            tenant = await tenancy.create(
                session, SLUG, "Demonstration", limit_nanousd=LIMIT_NANOUSD, actor=OPERATOR
            )
        await versions.push_shipped(
            session, tenant
        )  # newer ones, where an older Towpath made the tenant
        known = _read(kept)
        if known is not None:
            return tenant, known
        issued = await keys.issue(session, tenant, "towpath up", SCOPES, actor=OPERATOR)
    _write(kept, issued.secret)
    return tenant, issued.secret


def _read(kept: Path) -> str | None:
    return kept.read_text().strip() if kept.exists() else None


def _write(kept: Path, secret: str) -> None:
    kept.touch(0o600)
    kept.write_text(secret + "\n")


async def _endpoint(api: _Api, receiver: str) -> tuple[str, str]:
    body = {"url": f"http://{receiver}/towpath", "description": "towpath up", "events": ["*"]}
    made = await api.call("POST", "/v1/webhook_endpoints", json=body)
    return made["id"], made["secret"]


async def _ingest(api: _Api) -> int:
    """The handbook and the guide in the collection. Gives how many documents."""
    listed = await api.call("GET", "/v1/collections?limit=200")
    if COLLECTION not in [it["name"] for it in listed["data"]]:
        await api.call("POST", "/v1/collections", json={"name": COLLECTION})
    files = [path for folder in FOLDERS for path in sorted((CORPUS / folder).glob("*.md"))]
    if not files:
        raise DemoFailed(f"No documents under {CORPUS}: run `towpath up` from a checkout.")
    open_jobs = []
    for path in files:
        data = path.read_bytes()
        # The key carries the content: the same text is sent once, a changed one is a new revision.
        name, digest = path.name, hashlib.sha256(data).hexdigest()[:16]
        sent = await api.call(
            "POST", f"/v1/collections/{COLLECTION}/documents", data=data,
            params={"name": name}, headers={"Content-Type": "text/markdown", "Idempotency-Key": f"{name}-{digest}"},
        )  # fmt: skip
        if sent["status"] != "ready":
            open_jobs.append(sent["job"])
    with Progress(console=_console, transient=True) as bar:
        task = bar.add_task(f"ingesting {len(files)} documents", total=len(open_jobs))
        for job in open_jobs:
            await _ended(api, job)
            bar.advance(task)
    return len(files)


async def _ended(api: _Api, job: str) -> Any:
    while True:
        view = await api.call("GET", f"/v1/jobs/{job}?wait={WAIT_SECONDS}")
        if view["status"] in ("succeeded", "failed", "cancelled", "expired"):
            if view["status"] != "succeeded":
                raise DemoFailed(
                    f"{view['workflow']} has {view['status']}: {json.dumps(view['error'])}"
                )
            return view


async def _ask(api: _Api, key: str) -> Any:
    body = {
        "workflow": "answer", "lane": "interactive", "max_cost": MAX_COST,
        "input": {"collection": COLLECTION, "question": QUESTION}, "metadata": {"demo": "true"},
    }  # fmt: skip
    _console.print(f"asking: {QUESTION}")
    headers = {"Idempotency-Key": key}
    job = await api.call("POST", "/v1/jobs", json=body, headers=headers)
    again = await api.call("POST", "/v1/jobs", json=body, headers=headers)
    if again["id"] != job["id"]:
        raise DemoFailed("The same key made two jobs.")
    return await _ended(api, job["id"])


async def _hook(received: list[Received], job: str) -> dict[str, Any]:
    for _ in range(200):
        for one in received:
            if (
                one.verified
                and isinstance(one.body, dict)
                and one.body.get("data", {}).get("id") == job
            ):
                return {"verified": True, "id": one.event_id, "type": one.type, "at": one.at}
        await asyncio.sleep(0.05)
    faults = [one.fault for one in received if one.fault]
    raise DemoFailed(f"No verified webhook arrived within 10 s. {'; '.join(faults)}")


async def _audit(db: Database, tenant: TenantId) -> dict[str, Any]:
    """All chains, once what happened to the demo's tenant and to the platform is sealed."""
    for _ in range(100):
        reports = await verification.verify(db)
        open_ = [it for it in reports if it.chain in (tenant, trail.PLATFORM) and it.unsealed]
        broken = [it.broken for it in reports if it.broken is not None]
        if broken:
            raise DemoFailed(f"The audit trail does not verify: {broken[0]}")
        if not open_:
            entries = sum(it.sealed for it in reports)
            return {"verified": True, "entries": entries, "chains": len(reports)}
        await asyncio.sleep(0.1)
    raise DemoFailed("The audit trail was not sealed within 10 s.")


def _print(
    job: Any, steps: list[Any], receipt: Any, hook: Any, audit: Any, started: Started
) -> None:
    output = job["output"]
    _console.print(f"\n[bold]{output['answer']}[/bold]")
    for citation in output["citations"]:
        _console.print(f"  cited: {citation['name']}, {citation['section']}", highlight=False)
    for step in steps:
        cost = f"{step['usage']['cost']} USD" if step["model"] else ""
        _console.print(
            f"  step {step['name']:<10} {step['state']:<10} {step['model'] or '':<22} {cost}",
            highlight=False,
        )
    usage = receipt["usage"]
    _console.print(
        f"  {job['id']} {job['status']}; {usage['input_tokens']} tokens in, {usage['output_tokens']} out,"
        f" {usage['cost']} USD; webhook {hook['id']} verified; {audit['entries']} audit entries verified",
        highlight=False,
    )
    if sys.stderr.isatty():
        _console.print(
            f"  try it: export TOWPATH_URL={started.api_url} and see README.md", highlight=False
        )
