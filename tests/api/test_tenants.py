"""Operators' routes over tenants, their money and their keys: round trips, refusals, and what the trail says."""

import json
from typing import Any

import psycopg
import pytest

from app.core.ids import TenantId
from tests.api.client import Client

ACME = "/v1/admin/tenants/acme"
NEW = {"slug": "globex", "limit": "12.5", "name": "Globex", "max_running": 7}
# `stranger` has every scope, the operators' too; `api` has all but that one.
ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/v1/admin/tenants", None),
    ("POST", "/v1/admin/tenants", NEW),
    ("GET", ACME, None),
    ("PATCH", ACME, {"weight": 9, "reason": "x"}),
    ("POST", f"{ACME}/suspend", {"reason": "x"}),
    ("POST", f"{ACME}/unsuspend", {"reason": "x"}),
    ("GET", f"{ACME}/budget", None),
    ("PUT", f"{ACME}/budget", {"limit": "1000", "reason": "x"}),
    ("POST", f"{ACME}/budget/clear_overrun", {"reason": "x"}),
    ("GET", f"{ACME}/keys", None),
    ("POST", f"{ACME}/keys", {"name": "k", "scopes": ["admin"]}),
    ("DELETE", f"{ACME}/keys/key_01kb1c2v3e4m5n6p7q8r9s0t1v", None),
]


def told(admin: psycopg.Connection) -> list[Any]:
    """What the trail says of keys that did something, oldest first."""
    rows = admin.execute("SELECT body FROM audit_entry ORDER BY at, id").fetchall()
    entries = [json.loads(body) for (body,) in rows]
    return [one for one in entries if one["actor"]["kind"] == "key"]


async def test_a_tenant_is_made_once_and_can_work_at_once(
    stranger: Client, url: str, admin: psycopg.Connection
) -> None:
    made = await stranger.post("/v1/admin/tenants", NEW, Idempotency_Key="t-1")
    assert made.status == 201, made.body
    again = await stranger.post("/v1/admin/tenants", NEW, Idempotency_Key="t-1")
    assert (again.json, again.headers["Idempotent-Replayed"]) == (made.json, "true")
    other = await stranger.post("/v1/admin/tenants", NEW | {"limit": "13"}, Idempotency_Key="t-1")
    assert (other.status, other.json["code"]) == (422, "idempotency_key_reused")
    assert (await stranger.get(made.headers["Location"])).json == made.json
    assert (await stranger.get("/v1/admin/tenants/globex")).json == made.json
    budget = (await stranger.get("/v1/admin/tenants/globex/budget")).json
    assert (budget["limit"], budget["spent"], budget["free"]) == ("12.5", "0", "12.5")

    wanted = {"name": "first", "scopes": ["workflows:read"]}
    key = await stranger.post("/v1/admin/tenants/globex/keys", wanted, Idempotency_Key="k-1")
    replay = await stranger.post("/v1/admin/tenants/globex/keys", wanted, Idempotency_Key="k-1")
    assert (key.status, replay.json) == (201, key.json | {"secret": None})
    elsewhere = await stranger.post("/v1/admin/tenants/other/keys", wanted, Idempotency_Key="k-1")
    assert elsewhere.json["code"] == "idempotency_key_reused"
    async with Client(url, key.json["secret"]) as client:
        assert (await client.get("/v1/me")).json["tenant"]["slug"] == "globex"
        assert "answer" in {one["name"] for one in (await client.get("/v1/workflows")).json["data"]}
    entries = [one for one in told(admin) if one["chain"] == made.json["id"]]
    assert [one["action"] for one in entries] == ["tenant.create", "budget.open", "key.issue"]
    assert {one["actor"]["id"][:4] for one in entries} == {"key_"}
    assert entries[0]["request_id"] == made.headers["X-Request-Id"]


async def test_tenants_are_listed_page_by_page(api: Client, stranger: Client) -> None:
    first = (await stranger.get("/v1/admin/tenants?limit=1")).json
    second = (await stranger.get(f"/v1/admin/tenants?limit=1&cursor={first['next_cursor']}")).json
    assert [one["slug"] for one in first["data"] + second["data"]] == ["other", "acme"]
    assert second["next_cursor"] is None


async def test_a_tenant_is_changed_suspended_and_let_in_again(
    api: Client, stranger: Client, admin: psycopg.Connection
) -> None:
    changed = await stranger.send("PATCH", ACME, {"weight": 3, "max_running": 9, "reason": "grew"})
    assert (changed.json["weight"], changed.json["max_running"]) == (3, 9)
    assert changed.json["requires_idempotency"] is False
    for _ in range(2):
        off = await stranger.post(f"{ACME}/suspend", {"reason": "unpaid"})
        assert (off.status, off.json["state"]) == (200, "suspended")
    assert (await api.get("/v1/jobs")).json["code"] == "tenant_suspended"
    on = await stranger.post(f"{ACME}/unsuspend", {"reason": "paid"})
    assert on.json == (await stranger.get(ACME)).json
    assert on.json["state"] == "active"
    entries = [one for one in told(admin) if one["action"].startswith("tenant.")]
    assert [(one["action"], one["reason"]) for one in entries] == [
        ("tenant.set_caps", "grew"), ("tenant.suspend", "unpaid"), ("tenant.resume", "paid"),
    ]  # fmt: skip
    assert entries[0]["before"] == {"max_running": 100, "weight": 1}


async def test_a_tenants_cap_is_set_and_its_account_unblocked(
    api: Client, stranger: Client, admin: psycopg.Connection
) -> None:
    admin.execute("UPDATE budget_account SET overrun_at = app_now()")
    blocked = (await stranger.get(f"{ACME}/budget")).json
    assert (blocked["blocked"], blocked["free"]) == (True, "0")
    change = {"limit": "0.000000001", "reason": "trial"}
    small = await stranger.send("PUT", f"{ACME}/budget", change)
    assert small.json["limit"] == "0.000000001"
    clear = await stranger.post(f"{ACME}/budget/clear_overrun", {"reason": "looked"})
    assert (clear.json["blocked"], clear.json["free"]) == (False, "0.000000001")
    assert (await api.get("/v1/budgets")).json["data"] == [clear.json]
    entries = [(one["action"], one["reason"]) for one in told(admin)]
    assert entries == [("budget.set_limit", "trial"), ("budget.clear_overrun", "looked")]


async def test_keys_of_a_tenant_are_listed_and_revoked(api: Client, stranger: Client) -> None:
    made = await stranger.post(f"{ACME}/keys", {"name": "k", "scopes": ["jobs:read"]})
    listed = (await stranger.get(f"{ACME}/keys")).json["data"]
    assert [one["name"] for one in listed] == ["k", "tests"]
    assert {one["secret"] for one in listed} == {None}
    elsewhere = await stranger.delete(f"/v1/admin/tenants/other/keys/{made.json['id']}")
    assert elsewhere.status == 404
    for _ in range(2):
        assert (await stranger.delete(f"{ACME}/keys/{made.json['id']}")).status == 204
    [ended] = (await stranger.get(f"{ACME}/keys?limit=1")).json["data"]
    assert ended["revoked_at"] is not None


async def test_only_operators_may(
    api: Client, stranger: Client, admin: psycopg.Connection, subtests: pytest.Subtests
) -> None:
    before = (
        (await stranger.get("/v1/admin/tenants")).json,
        (await stranger.get(f"{ACME}/keys")).json,
    )
    for method, path, body in ROUTES:
        with subtests.test(f"{method} {path}"):
            refused = await api.send(method, path, body)
            assert (refused.status, refused.json["code"]) == (403, "forbidden")
    tried = [one["after"]["tried"] for one in told(admin) if one["action"] == "request.refuse"]
    assert "POST /v1/admin/tenants" in tried
    assert "POST /v1/admin/tenants/{tenant}/suspend" in tried
    after = (
        (await stranger.get("/v1/admin/tenants")).json,
        (await stranger.get(f"{ACME}/keys")).json,
    )
    assert after == before


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "pointer"),
    [
        ("POST", "", {"slug": "Not This", "limit": "1"}, 422, "/slug"),
        ("POST", "", {"slug": "acme", "limit": "1"}, 422, "/slug"),
        ("POST", "", {"slug": "x", "limit": 1}, 422, "/limit"),
        ("POST", "", {"slug": "x", "limit": "-1"}, 422, "/limit"),
        ("POST", "", {"slug": "x", "limit": "1", "weight": 0}, 422, "/weight"),
        ("POST", "", {"slug": "x", "limit": "1", "max_running": 2**70}, 422, "/max_running"),
        ("POST", "", {"slug": "x", "limit": "1", "plan": "p"}, 422, "/plan"),
        ("POST", "", {"slug": "x"}, 422, "/limit"),
        ("GET", "?cursor=%21", None, 422, "/cursor"),
        ("GET", "/nobody", None, 404, None),
        ("GET", "/ten_01m895sjcee159v6fxvjxyjb9d", None, 404, None),
        ("PATCH", "/acme", {"weight": 2}, 422, "/reason"),
        ("PATCH", "/acme", {"weight": True, "reason": "x"}, 422, "/weight"),
        ("PATCH", "/acme", {"plan": "none", "reason": "x"}, 404, None),
        ("PATCH", "/acme", {"state": "closed", "reason": "x"}, 422, "/state"),
        ("POST", "/acme/suspend", {}, 422, "/reason"),
        ("POST", "/nobody/suspend", {"reason": "x"}, 404, None),
        ("PUT", "/acme/budget", {"limit": "1e3", "reason": "x"}, 422, "/limit"),
        ("PUT", "/acme/budget", {"limit": "9999999999", "reason": "x"}, 422, "/limit"),
        ("POST", "/acme/keys", {"name": "k", "scopes": ["root"]}, 422, "/scopes"),
        ("GET", "/acme/keys?cursor=%21", None, 422, "/cursor"),
        ("DELETE", "/acme/keys/1", None, 404, None),
    ],
)
async def test_what_can_not_be_is_refused(
    method: str, path: str, body: Any, status: int, pointer: str | None, stranger: Client,
    admin: psycopg.Connection, tenant: TenantId,
) -> None:  # fmt: skip
    refused = await stranger.send(method, f"/v1/admin/tenants{path}", body)
    assert refused.status == status, refused.body
    if pointer is not None:
        assert [one["pointer"] for one in refused.json["errors"]] == [pointer]
    assert told(admin) == []
