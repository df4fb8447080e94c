"""Clients' commands against a real API: what they print, and what a script learns from their status."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psycopg
import pytest

from app.bootstrap.settings import Settings
from app.cli import client
from app.core.db import Database
from app.core.ids import TenantId
from app.retrieval.errors import DocumentEmpty
from tests.api.client import Client
from tests.api.test_jobs import fail, watched
from tests.api.test_resources import ingest
from tests.cli import running
from tests.cli.running import Ended
from tests.waiting import until

Towpath = Callable[..., Coroutine[Any, Any, Ended]]


@pytest.fixture
def towpath(url: str, secret: str) -> Towpath:
    environment = {"TOWPATH_URL": url, "TOWPATH_API_KEY": secret}

    async def towpath(*words: str, stdin: str | None = None) -> Ended:
        return await running.run(list(words), environment=environment, stdin=stdin)

    return towpath


def told(ended: Ended) -> Any:
    """The last line that a good command wrote."""
    assert ended.status == 0, ended.err
    return json.loads(ended.out.splitlines()[-1])


async def test_a_job_is_submitted_once_a_key(towpath: Towpath, tmp_path: Path) -> None:
    file = tmp_path / "input.json"
    file.write_text('{"q": "x"}')
    words = ["jobs", "submit", "noop", "--input", f"@{file}", "--set", "n=1", "--tag", "a", "--tag", "b",
             "--metadata", "order=7", "--lane", "batch", "--max-cost", "0.01", "--key", "order-7", "--json"]  # fmt: skip
    job = told(await towpath(*words))
    assert (job["input"], job["tags"], job["metadata"]) == (
        {"q": "x", "n": "1"},
        ["a", "b"],
        {"order": "7"},
    )
    assert (job["lane"], job["max_cost"]) == ("batch", "0.01")
    assert told(await towpath(*words))["id"] == job["id"]
    assert told(await towpath("jobs", "get", job["id"], "--json"))["id"] == job["id"]
    from_stdin = told(
        await towpath("jobs", "submit", "noop", "-i", "-", "--json", stdin='{"a": 1}')
    )
    assert from_stdin["input"] == {"a": 1}
    listed = told(await towpath("jobs", "list", "--tag", "a", "--json"))["data"]
    assert [one["id"] for one in listed] == [job["id"]]
    shown = await towpath("jobs", "list")
    assert job["id"] in shown.out


async def test_a_job_of_one_name_is_moved_and_says_why_it_waits(towpath: Towpath) -> None:
    words = ["jobs", "submit", "noop", "--unique-key", "nightly", "--json"]
    job, again = told(await towpath(*words)), told(await towpath(*words))
    assert again["id"] == job["id"]
    moved = told(
        await towpath("jobs", "move", job["id"], "--lane", "batch", "--priority", "9", "--json")
    )
    assert moved["lane"] == "batch"
    why = told(await towpath("jobs", "why", job["id"], "--json"))
    assert [one["code"] for one in why["reasons"]] == ["no_workers", "dispatcher", "turn"]
    assert "no_workers" in (await towpath("jobs", "why", job["id"])).out
    assert (await towpath("jobs", "move", job["id"])).status == client.REFUSED


async def test_a_list_is_read_over_its_pages(towpath: Towpath, api: Client) -> None:
    await api.post("/v1/jobs/bulk", {"jobs": [{"workflow": "noop", "input": {}}] * 205})
    assert len(told(await towpath("jobs", "list", "--limit", "1000", "--json"))["data"]) == 205
    assert len(told(await towpath("jobs", "list", "--limit", "203", "--json"))["data"]) == 203


async def test_a_refusal_is_told_in_words_and_by_status(towpath: Towpath) -> None:
    refused = await towpath("jobs", "submit", "nowhere", "--json")
    assert refused.status == client.REFUSED
    assert "unknown_workflow" in refused.err
    assert refused.out == ""
    unfit = await towpath("jobs", "submit", "noop", "--lane", "express")
    assert unfit.status == client.REFUSED
    assert "/lane" in unfit.err
    assert (await towpath("jobs", "get", "job_1")).status == client.REFUSED
    wrong = await towpath("jobs", "--api-key", "tp_no", "list")
    assert (wrong.status, "unauthenticated" in wrong.err) == (client.REFUSED, True)
    assert (await towpath("jobs", "submit", "noop", "--input", "{")).status == client.UNUSABLE
    assert (await towpath("jobs", "submit", "noop", "--set", "x")).status == client.UNUSABLE


async def test_an_api_that_is_away_is_told_so(towpath: Towpath) -> None:
    away = await towpath("jobs", "--url", "http://127.0.0.1:1", "list")
    assert (away.status, "out of reach" in away.err) == (client.UNUSABLE, True)
    odd = await towpath("jobs", "--url", "ftp://x", "list")
    assert odd.status == client.UNUSABLE


async def test_without_an_address_the_local_stack_is_meant(
    tmp_path: Path,
) -> None:
    environment = {"TOWPATH_STATE_DIR": str(tmp_path)}
    result = await running.run(["jobs", "list"], environment=environment, stdin=None)
    assert (result.status, "towpath up" in result.err) == (client.UNUSABLE, True)


async def test_watching_shows_all_events_and_ends_with_the_job(
    towpath: Towpath, api: Client, admin: psycopg.Connection
) -> None:
    job = await api.job()
    watching = asyncio.create_task(towpath("jobs", "watch", job["id"], "--json"))
    await until(watched(api, 1))
    cancelled = told(await towpath("jobs", "cancel", job["id"], "--json"))
    assert cancelled["status"] == "cancelled"
    seen = await watching
    assert [json.loads(line)["type"] for line in seen.out.splitlines()] == [
        "job.queued", "job.cancelled",
    ]  # fmt: skip
    assert seen.status == client.UNHAPPY
    assert (await towpath("jobs", "get", job["id"], "--wait", "--json")).status == client.UNHAPPY
    failed = await api.job()
    fail(admin, failed["id"])
    assert told(await towpath("jobs", "retry", failed["id"], "--json"))["run"] == 2
    assert told(await towpath("jobs", "steps", failed["id"], "--json")) == {"data": []}
    assert told(await towpath("jobs", "receipt", failed["id"], "--json"))["usage"]["cost"] == "0"


async def test_many_are_cancelled_and_retried_by_what_they_have_in_common(
    towpath: Towpath, ingesting: None
) -> None:
    job = told(await towpath("jobs", "cancel", "--tag", "nightly", "--key", "c", "--json"))
    assert (job["workflow"], job["input"]) == ("towpath.cancel", {"filter": {"tag": "nightly"}})
    again = told(await towpath("jobs", "cancel", "--tag", "nightly", "--key", "c", "--json"))
    assert again["id"] == job["id"]
    job = told(await towpath("jobs", "retry", "--failed", "--error-code", "worker_lost", "--json"))
    wanted = {"status": "failed", "error_code": "worker_lost"}
    assert (job["workflow"], job["input"]) == ("towpath.retry", {"filter": wanted})
    for words in (
        ["cancel"],
        ["cancel", job["id"], "--tag", "a"],
        ["retry", "--failed", "--expired"],
    ):
        assert (await towpath("jobs", *words)).status == client.UNUSABLE


async def test_waiting_for_a_job_that_succeeds_is_status_0(
    towpath: Towpath, api: Client, admin: psycopg.Connection
) -> None:
    waiting = asyncio.create_task(
        towpath("jobs", "submit", "noop", "--key", "w", "--wait", "--json")
    )
    await until(watched(api, 1))
    admin.execute(
        "UPDATE job SET state = 'succeeded', started_at = app_now(), finished_at = app_now(),"
        ' output = \'{"answer": "yes"}\''
    )
    assert told(await waiting)["output"] == {"answer": "yes"}


async def test_a_folder_is_ingested_once(
    towpath: Towpath, api: Client, ingesting: None, tmp_path: Path
) -> None:
    folder = tmp_path / "corpus"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.md").write_text("# A\n\nFirst.")
    (folder / "deep" / "b.html").write_text("<h1>B</h1><p>Second.</p>")
    (folder / "c.pdf").write_bytes(b"%PDF")
    assert told(await towpath("collections", "create", "corpus", "--json"))["name"] == "corpus"
    words = ["collections", "ingest", "corpus", str(folder), "--no-wait", "--json"]
    first = told(await towpath(*words))
    assert (first["documents"], first["failed"]) == (2, [])
    told(await towpath(*words))
    listed = told(await towpath("collections", "documents", "corpus", "--json"))["data"]
    assert {(one["name"], one["revision"]) for one in listed} == {("a.md", 1), ("deep/b.html", 1)}
    (folder / "a.md").write_text("# A\n\nChanged.")
    told(await towpath(*words))
    listed = told(await towpath("collections", "documents", "corpus", "--json"))["data"]
    assert {(one["name"], one["revision"]) for one in listed} == {("a.md", 2), ("deep/b.html", 1)}
    empty = tmp_path / "empty"
    empty.mkdir()
    nothing = await towpath("collections", "ingest", "corpus", str(empty))
    assert nothing.status == client.UNUSABLE


async def test_ingesting_follows_the_jobs_and_tells_what_failed(
    towpath: Towpath, api: Client, ingesting: None, db: Database, settings: Settings,
    tenant: TenantId, admin: psycopg.Connection, tmp_path: Path,
) -> None:  # fmt: skip
    good, bad = tmp_path / "good.md", tmp_path / "bad.txt"
    good.write_text("# Refunds\n\nA refund takes five days.")
    bad.write_text(" ")
    await api.post("/v1/collections", {"name": "c"})
    running = asyncio.create_task(
        towpath("collections", "ingest", "c", str(good), str(bad), "--json")
    )
    await until(watched(api, 1))
    for document in (await api.get("/v1/collections/c/documents")).json["data"]:
        with contextlib.suppress(DocumentEmpty):
            await ingest(db, settings, tenant, document["id"])
    admin.execute(
        "UPDATE job SET state = 'succeeded', started_at = app_now(), finished_at = app_now()"
    )
    result = await running
    assert result.status == client.UNHAPPY
    summary = json.loads(result.out)
    assert (summary["documents"], summary["chunks"]) == (2, 1)
    assert summary["failed"][0].startswith("bad.txt: ")
    found = told(await towpath("collections", "search", "c", "how long is a refund", "--json"))
    assert found["data"][0]["name"] == "good.md"
    shown = await towpath("collections", "search", "c", "how long is a refund")
    assert "five days" in shown.out


async def test_a_workflow_is_validated_here_and_pushed_there(
    towpath: Towpath, tmp_path: Path
) -> None:
    file = tmp_path / "w.yaml"
    file.write_text(
        "name: w\ninput: {type: object}\nsteps: [{id: a, kind: transform, value: 1}]\noutput: =steps.b\n"
    )
    faulty = await towpath("workflows", "validate", str(file))
    assert (faulty.status, "/output" in faulty.err) == (client.REFUSED, True)
    assert (await towpath("workflows", "push", str(file))).status == client.REFUSED
    file.write_text(file.read_text().replace("steps.b", "steps.a"))
    assert told(await towpath("workflows", "validate", str(file), "--json"))["valid"] is True
    assert told(await towpath("workflows", "push", str(file), "--json"))["number"] == 1
    assert told(await towpath("workflows", "push", str(file), "--json"))["new"] is False
    assert told(await towpath("workflows", "get", "w", "--json"))["definition"]["name"] == "w"
    names = {one["name"] for one in told(await towpath("workflows", "list", "--json"))["data"]}
    assert names == {"noop", "w"}


async def test_keys_usage_budgets_and_webhooks(towpath: Towpath) -> None:
    made = told(await towpath("keys", "create", "bot", "--scope", "jobs:read", "--json"))
    assert made["secret"].startswith("tp_")
    assert (await towpath("keys", "revoke", made["id"])).status == 0
    (revoked,) = [
        one
        for one in told(await towpath("keys", "list", "--json"))["data"]
        if one["id"] == made["id"]
    ]
    assert (revoked["secret"], revoked["revoked_at"] is not None) == (None, True)
    report = told(await towpath("usage", "--group-by", "workflow,model", "--json"))
    assert (report["data"], report["total"]["cost"]) == ([], "0")
    csv = await towpath("usage", "--csv")
    assert csv.out.lstrip("\ufeff").startswith("day,calls,")
    assert "total" in (await towpath("usage")).out
    (budget,) = told(await towpath("budgets", "--json"))["data"]
    assert budget["limit"] == "10"
    assert told(await towpath("me", "--json"))["tenant"]["slug"] == "acme"
    endpoint = told(
        await towpath("webhooks", "create", "https://1.1.1.1/h", "--event", "job.failed", "--json")
    )
    assert endpoint["secret"].startswith("whsec_")
    assert told(await towpath("webhooks", "test", endpoint["id"], "--json"))["status"] == "pending"
    log = told(await towpath("webhooks", "deliveries", endpoint["id"], "--json"))["data"]
    assert [one["event_type"] for one in log] == ["webhook_endpoint.test"]
    assert (await towpath("webhooks", "delete", endpoint["id"])).status == 0
    assert told(await towpath("webhooks", "list", "--json")) == {"data": []}


async def test_a_schedule_is_kept_from_the_command_line(towpath: Towpath) -> None:
    words = [
        "create",
        "nightly",
        "30 2 * * *",
        "noop",
        "--input",
        '{"n": 1}',
        "--zone",
        "Europe/Berlin",
    ]
    made = told(await towpath("schedules", *words, "--overlap", "queue", "--json"))
    assert (made["overlap"], made["time_zone"], made["job"]["input"]) == (
        "queue", "Europe/Berlin", {"n": 1},
    )  # fmt: skip
    assert told(await towpath("schedules", "pause", made["id"], "--json"))["status"] == "paused"
    changed = told(
        await towpath("schedules", "change", made["id"], "--cron", "0 3 * * *", "--json")
    )
    assert (changed["cron"], changed["status"]) == ("0 3 * * *", "paused")
    assert told(await towpath("schedules", "resume", made["id"], "--json"))["status"] == "active"
    run = told(await towpath("schedules", "run", made["id"], "--json"))
    assert told(await towpath("schedules", "runs", made["id"], "--json"))["data"] == [run]
    assert len(told(await towpath("schedules", "next", made["id"], "--json"))["times"]) == 10
    shown = await towpath("schedules", "preview", "0 3 * * *", "--count", "2", "--json")
    assert len(told(shown)["times"]) == 2
    assert told(await towpath("schedules", "get", made["id"], "--json"))["name"] == "nightly"
    assert made["id"] in (await towpath("schedules", "list")).out
    assert (await towpath("schedules", "delete", made["id"])).status == 0
    assert told(await towpath("schedules", "list", "--json"))["data"] == []
