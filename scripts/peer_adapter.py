"""Towpath as a peer of the kit that measures job queues side by side, through its HTTP API.

In the kit's folder, with this folder on PYTHONPATH:

    python run.py drain --peers pgqueuer,peer_adapter:Towpath,peer_adapter:OneToOne

The kit's interpreter runs the adapter and the producers; Towpath's processes run on this project's own
(`.venv`, or PEERS_TOWPATH_PYTHON). Kept on: authentication, idempotency keys, rate limits, queue ceilings,
budgets, events, the audit trail.
"""

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, ClassVar, Final

import aiohttp
import psycopg
from kit.adapter import Adapter
from kit.servers import free_port

ENVIRONMENT: Final = os.environ  # noqa: TID251 - how the kit hands on what a producer needs
ROOT: Final = Path(__file__).resolve().parent.parent
# Each job runs the kit's own body as a tool, as every peer does.
WORKFLOW: Final = {
    "name": "bench",
    "input": {"type": "object"},
    "steps": [{"id": "work", "kind": "tool", "tool": "peers.work", "in": {"payload": "=input"}}],
    "output": None,
}
TOOL: Final = """
from kit.work import work_async
from app.tools.tool import Tool

async def _run(call):
    await work_async(call.arguments["payload"])
    return None

WORK = Tool(
    name="peers.work", version="1", description="The body of a job of the kit.",
    input={"type": "object"}, effect="idempotent", run=_run,
)
"""


class Towpath(Adapter):
    """Work that nobody waits for in the batch lane, whose messages are groups; the rest in standard."""

    name = label = package = "towpath"
    store = "postgres"
    number = 20
    configured = (
        "one API, one control, one worker process; all limits, budgets and records on; no Flower, so no events"
        " for it; a tenth of the slots is kept for lanes that come back"
    )
    # A worker serves three lanes, which leave each other a tenth: so many slots give the peers' number.
    concurrency: ClassVar = {
        "drain": 112, "inflight": 1_112, "latency": 36, "fairness": 36, "crash": 24, "backlog": 112,
    }  # fmt: skip
    backlog_table = "job"
    backlog_columns: ClassVar = {"id": "uuidv7()"}
    backlog_also = (
        "INSERT INTO job_event (job, seq, tenant, at, name, data)"
        " SELECT id, 1, tenant, created_at, 'job.queued', '{}' FROM job ON CONFLICT DO NOTHING",
    )
    unfinished_where = "finished_at IS NULL"
    grouped = True

    # -- harness side ------------------------------------------------------------------------

    def install(self) -> None:
        """The schema, the tenants, the API and the control process. What it started ends with it if it fails."""
        self.services: list[subprocess.Popen] = []
        try:
            self._install()
        except BaseException:
            self.stop()
            raise

    def _install(self) -> None:
        self.folder = self.servers.dir / f"state-{self.name}"
        self._offer_tool()
        uri = self.env["PEERS_STORE"]
        with psycopg.connect(uri, autocommit=True) as db:
            db.execute("CREATE EXTENSION IF NOT EXISTS vector")
            for role in ("towpath_owner", "towpath_app"):
                if (
                    db.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
                    is None
                ):
                    db.execute(f"CREATE ROLE {role} LOGIN")
            db.execute(f'ALTER DATABASE "{db.info.dbname}" OWNER TO towpath_owner')
            address = f"host={db.info.host} port={db.info.port} dbname={db.info.dbname}"
        owner, app = (_url(address, role) for role in ("towpath_owner", "towpath_app"))
        port = free_port()
        self.env |= {
            "TOWPATH_DATABASE_URL": app,
            "TOWPATH_DATABASE_OWNER_URL": owner,
            "TOWPATH_BROKER_URL": self.servers.fresh_valkey(self.number),
            "TOWPATH_CACHE_URL": self.servers.fresh_valkey(self.number + 1),
            "TOWPATH_STATE_DIR": str(self.folder),
            "TOWPATH_LOG_LEVEL": "warning",
            "PEERS_PEER": f"{__name__}:{type(self).__name__}",  # how a producer finds this class
            "PEERS_API": f"http://127.0.0.1:{port}",
        }
        self._python("-m", "app.cli", "migrate")
        keys = json.loads(self._python("-m", "scripts._peer_tenants", app))
        self.env["PEERS_KEYS"] = json.dumps(keys)
        self._serve("-m", "app.cli", "api", "--port", str(port))
        self._serve("-m", "app.cli", "control")
        until = time.time() + 60
        while not self._pushed(keys):
            if time.time() > until:
                raise RuntimeError("the API did not start: see its log")
            time.sleep(0.1)  # noqa: TID251 - the kit is synchronous here

    def _offer_tool(self) -> None:
        """The tool, installed as an operator would install one: by an entry point."""
        package = self.folder / "package"
        about = package / "peers_work-1.dist-info"
        about.mkdir(parents=True, exist_ok=True)
        (package / "peers_work.py").write_text(TOOL)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: peers-work\nVersion: 1\n")
        (about / "entry_points.txt").write_text("[towpath.tools]\npeers.work = peers_work:WORK\n")
        self.env["PYTHONPATH"] = os.pathsep.join(
            (self.env["PYTHONPATH"], str(package), str(ROOT), str(Path(__file__).parent))
        )

    def _pushed(self, keys: dict[str, str]) -> bool:
        for key in keys.values():
            request = urllib.request.Request(  # noqa: S310 - the address is ours
                self.env["PEERS_API"] + "/v1/workflows/bench/versions",
                json.dumps(WORKFLOW).encode(),
                {"Authorization": f"Bearer {key}", "Content-Type": "application/json"},
            )
            try:
                urllib.request.urlopen(request, timeout=5).read()  # noqa: S310 - as above
            except urllib.error.HTTPError as error:
                raise RuntimeError(error.read().decode()) from error
            except OSError:
                return False
        return True

    def _python(self, *arguments: str) -> str:
        done = subprocess.run(
            [_interpreter(), *arguments], env=self.env, cwd=ROOT, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout

    def _serve(self, *arguments: str) -> None:
        with (self.servers.dir / f"{self.name}.log").open("ab") as log:
            self.services.append(
                subprocess.Popen(
                    [_interpreter(), *arguments], env=self.env, cwd=ROOT, stdout=log, stderr=log,
                    start_new_session=True,
                )
            )  # fmt: skip

    def command(self, concurrency: int) -> list[str]:
        """One worker process for all lanes."""
        return [
            _interpreter(),
            "-m",
            "app.cli",
            "worker",
            "--slots",
            str(concurrency),
            "--no-events",
        ]

    def stop(self, kill: bool = False) -> None:
        """End the worker; without `kill` the API and control too: a lost host takes one with it alone."""
        super().stop(kill)
        if not kill:
            for service in getattr(self, "services", ()):
                service.terminate()
            for service in getattr(self, "services", ()):
                try:
                    service.wait(10)
                except subprocess.TimeoutExpired:
                    service.kill()
                    service.wait()
            self.services = []

    # -- producer side -----------------------------------------------------------------------

    async def open(self) -> None:
        """A client with its connections."""
        self.keys = json.loads(ENVIRONMENT["PEERS_KEYS"])
        self.http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))

    def _job(self, payload: dict[str, Any]) -> dict[str, Any]:
        batch = self.grouped and payload["kind"] != "sleep" and payload["tenant"] == "a"
        return {
            "workflow": "bench",
            "input": payload,
            "lane": "batch" if batch else "standard",
        }

    async def put(self, payload: dict[str, Any]) -> None:
        """One job, once the API has stored it."""
        headers = {
            "Authorization": f"Bearer {self.keys[payload['tenant']]}",
            "Idempotency-Key": payload["id"],
        }
        url = ENVIRONMENT["PEERS_API"] + "/v1/jobs"
        async with self.http.post(url, json=self._job(payload), headers=headers) as answer:
            if answer.status != 202:
                raise RuntimeError(await answer.text())
            await answer.read()

    async def put_many(self, payloads: list[dict[str, Any]]) -> None:
        """Jobs in one request."""
        items = [self._job(payload) | {"idempotency_key": payload["id"]} for payload in payloads]
        headers = {"Authorization": f"Bearer {self.keys[payloads[0]['tenant']]}"}
        url = ENVIRONMENT["PEERS_API"] + "/v1/jobs/bulk"
        async with self.http.post(url, json={"jobs": items}, headers=headers) as answer:
            if answer.status != 207:
                raise RuntimeError(await answer.text())
            for item in (await answer.json())["data"]:
                if item["status"] != 202:
                    raise RuntimeError(str(item["problem"]))

    async def close(self) -> None:
        """Give the connections back."""
        await self.http.close()


class OneToOne(Towpath):
    """The same, with a message for each attempt: nothing in the batch lane."""

    name = label = "towpath-one-to-one"
    number = 22
    grouped = False


def _interpreter() -> str:
    return ENVIRONMENT.get("PEERS_TOWPATH_PYTHON", str(ROOT / ".venv" / "bin" / "python"))


def _url(address: str, role: str) -> str:
    parts = dict(part.split("=", 1) for part in address.split())
    return f"postgresql://{role}@/{parts['dbname']}?host={parts['host'].replace('/', '%2F')}&port={parts['port']}"
