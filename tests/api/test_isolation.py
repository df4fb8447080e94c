"""C146: what belongs to another tenant isn't there: the same answer as for an id of nobody."""

import json
from typing import Any

import psycopg
import pytest

from app.core import ids
from tests.api.client import Client, Reply
from tests.api.test_bad_input import rows

PREFIXES = {
    "job": "job",
    "key": "key",
    "endpoint": "whe",
    "delivery": "dlv",
    "document": "doc",
    "schedule": "sch",
}
ROUTES = [
    ("GET", "/v1/jobs/{job}", None),
    ("GET", "/v1/jobs/{job}?wait=5", None),
    ("GET", "/v1/jobs/{job}/events", None),
    ("GET", "/v1/jobs/{job}/steps", None),
    ("GET", "/v1/jobs/{job}/receipt", None),
    ("GET", "/v1/jobs/{job}/interventions", None),
    ("POST", "/v1/jobs/{job}/interventions/echo", {"answer": "retry"}),
    ("GET", "/v1/jobs/{job}/why", None),
    ("POST", "/v1/jobs/{job}/move", {"priority": 9}),
    ("POST", "/v1/jobs/{job}/cancel", None),
    ("POST", "/v1/jobs/{job}/retry", None),
    ("GET", "/v1/schedules/{schedule}", None),
    ("PATCH", "/v1/schedules/{schedule}", {"paused": True}),
    ("DELETE", "/v1/schedules/{schedule}", None),
    ("POST", "/v1/schedules/{schedule}/run", None),
    ("GET", "/v1/schedules/{schedule}/runs", None),
    ("GET", "/v1/schedules/{schedule}/next", None),
    ("GET", "/v1/keys/{key}", None),
    ("DELETE", "/v1/keys/{key}", None),
    ("GET", "/v1/webhook_endpoints/{endpoint}", None),
    ("PATCH", "/v1/webhook_endpoints/{endpoint}", {"enabled": False}),
    ("DELETE", "/v1/webhook_endpoints/{endpoint}", None),
    ("POST", "/v1/webhook_endpoints/{endpoint}/rotate_secret", None),
    ("POST", "/v1/webhook_endpoints/{endpoint}/test", None),
    ("GET", "/v1/webhook_endpoints/{endpoint}/deliveries", None),
    ("GET", "/v1/webhook_endpoints/{endpoint}/deliveries/{delivery}", None),
    ("POST", "/v1/webhook_endpoints/{endpoint}/deliveries/{delivery}/redeliver", None),
    ("GET", "/v1/webhook_endpoints/{mine}/deliveries/{delivery}", None),
    ("POST", "/v1/webhook_endpoints/{mine}/deliveries/{delivery}/redeliver", None),
    ("GET", "/v1/collections/{corpus}", None),
    ("DELETE", "/v1/collections/{corpus}", None),
    ("GET", "/v1/collections/{corpus}/documents", None),
    ("POST", "/v1/collections/{corpus}/documents?name=a.md", b"# A"),
    ("POST", "/v1/collections/{corpus}/search", {"query": "x"}),
    ("GET", "/v1/collections/{corpus}/documents/{document}", None),
    ("DELETE", "/v1/collections/{corpus}/documents/{document}", None),
    ("GET", "/v1/collections/own/documents/{document}", None),
    ("DELETE", "/v1/collections/own/documents/{document}", None),
    ("GET", "/v1/workflows/{workflow}", None),
    ("GET", "/v1/workflows/{workflow}/versions", None),
    ("GET", "/v1/workflows/{workflow}/versions/1", None),
]  # fmt: skip


async def endpoint_of(client: Client) -> str:
    made = await client.post(
        "/v1/webhook_endpoints", {"url": "https://1.1.1.1/hook", "events": ["*"]}
    )
    assert made.status == 201, made.body
    found: str = made.json["id"]
    return found


async def owned(client: Client) -> dict[str, str]:
    """One of each kind, by its name in the routes."""
    job = await client.job()
    key = await client.post("/v1/keys", {"name": "k", "scopes": ["jobs:read"]})
    endpoint = await endpoint_of(client)
    delivery = await client.post(f"/v1/webhook_endpoints/{endpoint}/test")
    await client.post("/v1/collections", {"name": "private"})
    document = await client.send(
        "POST", "/v1/collections/private/documents?name=a.md", b"# A\n\nText.",
        headers={"Content-Type": "text/markdown"},
    )  # fmt: skip
    assert document.status == 202, document.body
    await client.post("/v1/workflows/private/versions", _definition("private"))
    schedule = await client.post(
        "/v1/schedules",
        {"name": "s", "cron": "0 0 1 1 *", "job": {"workflow": "noop", "input": {}}},
    )
    return {
        "job": job["id"], "key": key.json["id"], "endpoint": endpoint, "delivery": delivery.json["id"],
        "document": document.json["id"], "corpus": "private", "workflow": "private",
        "schedule": schedule.json["id"],
    }  # fmt: skip


def _definition(name: str) -> dict[str, Any]:
    step = {"id": "echo", "kind": "transform", "value": 1}
    return {"name": name, "input": {"type": "object"}, "steps": [step], "output": 1}


def nobodys() -> dict[str, str]:
    made = {kind: ids.wire(prefix, ids.new()) for kind, prefix in PREFIXES.items()}
    return made | {"corpus": "nowhere", "workflow": "nowhere"}


def told(reply: Reply) -> dict[str, Any]:
    problem: dict[str, Any] = json.loads(reply.body)
    return problem | {"request_id": None}


async def test_another_tenants_object_is_answered_like_nobodys(
    api: Client, stranger: Client, admin: psycopg.Connection, ingesting: None,
    subtests: pytest.Subtests,
) -> None:  # fmt: skip
    theirs, mine = await owned(stranger), await endpoint_of(api)
    await api.post("/v1/collections", {"name": "own"})
    before = rows(admin)
    for method, path, body in ROUTES:
        with subtests.test(f"{method} {path}"):
            sent = {"Content-Type": "text/markdown"} if isinstance(body, bytes) else {}
            found = await api.send(method, path.format(**theirs, mine=mine), body, headers=sent)
            none = await api.send(method, path.format(**nobodys(), mine=mine), body, headers=sent)
            assert (found.status, none.status) == (404, 404), found.body
            assert told(found) == told(none)
            assert rows(admin) == before
    # All of it is still there for its owner.
    for path in ("/v1/jobs/{job}", "/v1/keys/{key}", "/v1/webhook_endpoints/{endpoint}"):
        shown = await stranger.get(path.format(**theirs))
        assert shown.status == 200
        assert shown.json.get("status", "enabled") in ("queued", "enabled")


async def test_lists_show_ones_own_alone(
    api: Client, stranger: Client, ingesting: None, subtests: pytest.Subtests
) -> None:
    theirs = await owned(stranger)
    for path in (
        "/v1/jobs", "/v1/schedules", "/v1/keys", "/v1/webhook_endpoints", "/v1/collections", "/v1/workflows",
        "/v1/usage/records", "/v1/usage", "/v1/budgets", "/v1/me",
    ):  # fmt: skip
        with subtests.test(path):
            shown = await api.get(path)
            assert shown.status == 200
            assert not [value for value in theirs.values() if value in shown.body.decode()]


async def test_ids_in_bodies_and_queries_reach_nobody_elses(api: Client, stranger: Client) -> None:
    theirs = await stranger.job()
    refused = await api.post("/v1/jobs", {"workflow": "noop", "input": {}, "tenant": "other"})
    assert refused.status == 422
    records = await api.get(f"/v1/usage/records?job={theirs['id']}")
    assert records.json["data"] == []
    cursor = (await stranger.get("/v1/jobs?limit=1")).json["next_cursor"]
    assert cursor is None


@pytest.mark.parametrize(
    "path",
    ["/v1/jobs/1", "/v1/jobs/key_01kb1c2v3e4m5n6p7q8r9s0t1v", "/v1/jobs/job_" + "z" * 26,
     "/v1/jobs/job_..%2F..", "/v1/keys/0", "/v1/workflows/noop/versions/-1",
     "/v1/workflows/noop/versions/9999999999999999999"],
)  # fmt: skip
async def test_what_is_no_id_names_nothing(path: str, api: Client) -> None:
    reply = await api.get(path)
    assert (reply.status, reply.json["code"]) == (404, "not_found")
