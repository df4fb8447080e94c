"""Operators' routes over the whole platform: kill switches, caps, the price book."""

from datetime import timedelta
from typing import Any

import psycopg
import pytest

from app.core import clock
from app.core.ids import TenantId
from tests.api.client import Client
from tests.api.test_tenants import told

PRICE = {
    "provider": "acme-ai", "model": "big-1", "input_usd_per_million": "2.5", "output_usd_per_million": "10",
    "cached_input_usd_per_million": "0.000001", "reason": "list",
}  # fmt: skip
CAP = {"kind": "resource", "name": "crm-api", "tenant": "acme", "max_running": 3, "reason": "small"}
ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "switches", None),
    ("POST", "switches/admission", {"off": True, "reason": "x"}),
    ("GET", "caps", None),
    ("PUT", "caps", CAP),
    ("DELETE", "caps?kind=all&reason=x", None),
    ("GET", "prices", None),
    ("POST", "prices", PRICE),
    ("POST", "prices/import", {"provider": "openai", "model": "gpt-4o-mini"}),
]


async def test_a_switch_stops_and_lets_run_again(
    api: Client, stranger: Client, admin: psycopg.Connection
) -> None:
    shown = (await stranger.get("/v1/admin/switches")).json["data"]
    assert [(one["name"], one["off"], one["by"]) for one in shown] == [
        ("admission", False, None), ("model_calls", False, None), ("webhooks", False, None),
    ]  # fmt: skip
    off = await stranger.post("/v1/admin/switches/admission", {"off": True, "reason": "storm"})
    assert (off.status, off.json["off"], off.json["reason"]) == (200, True, "storm")
    assert (await stranger.get("/v1/admin/switches")).json["data"][0] == off.json
    refused = await api.post("/v1/jobs", {"workflow": "noop", "input": {}})
    assert (refused.status, refused.json["code"]) == (503, "disabled")
    on = await stranger.post("/v1/admin/switches/admission", {"off": False, "reason": "over"})
    assert on.json["off"] is False
    entries = told(admin)
    assert [(one["action"], one["chain"], one["reason"]) for one in entries] == [
        ("switch.turn_off", "platform", "storm"), ("switch.turn_on", "platform", "over"),
    ]  # fmt: skip
    assert entries[0]["actor"]["id"] == off.json["by"]


async def test_a_cap_is_set_replaced_and_taken_away(
    stranger: Client, admin: psycopg.Connection, tenant: TenantId
) -> None:
    everything = {"kind": "all", "max_running": 500, "reason": "one machine"}
    assert (await stranger.send("PUT", "/v1/admin/caps", everything)).status == 200
    made = await stranger.send("PUT", "/v1/admin/caps", CAP)
    assert made.json | CAP == made.json
    less = await stranger.send("PUT", "/v1/admin/caps", CAP | {"max_running": 0})
    assert less.json["max_running"] == 0
    shown = (await stranger.get("/v1/admin/caps")).json["data"]
    assert [(one["tenant"], one["max_running"]) for one in shown] == [(None, 500), ("acme", 0)]
    gone = "/v1/admin/caps?kind=resource&name=crm-api&tenant=acme&reason=done"
    assert (await stranger.delete(gone)).status == 204
    assert (await stranger.delete(gone)).status == 404
    assert len((await stranger.get("/v1/admin/caps")).json["data"]) == 1
    assert [(one["action"], one["reason"]) for one in told(admin)] == [
        ("cap.set", "one machine"), ("cap.set", "small"), ("cap.set", "small"), ("cap.clear", "done"),
    ]  # fmt: skip


async def test_a_price_is_entered_once_and_listed(
    stranger: Client, admin: psycopg.Connection
) -> None:
    made = await stranger.post("/v1/admin/prices", PRICE, Idempotency_Key="p-1")
    assert made.status == 201, made.body
    again = await stranger.post("/v1/admin/prices", PRICE, Idempotency_Key="p-1")
    assert (again.json, again.headers["Idempotent-Replayed"]) == (made.json, "true")
    assert made.json["cached_input_usd_per_million"] == "0.000001"
    assert made.json["cache_write_usd_per_million"] == "2.5"
    later = PRICE | {"from_at": clock.wire(clock.now() + timedelta(days=7))}
    ahead = await stranger.post("/v1/admin/prices", later)
    assert ahead.json["from_at"] == later["from_at"]
    twice = await stranger.post("/v1/admin/prices", later)
    assert (twice.status, twice.json["errors"][0]["pointer"]) == (422, "/from_at")
    listed = await stranger.post(
        "/v1/admin/prices/import", {"provider": "openai", "model": "gpt-4o-mini"}
    )
    assert (listed.status, listed.json["model"]) == (200, "gpt-4o-mini")
    first = (await stranger.get("/v1/admin/prices?limit=2")).json
    assert first["data"] == [listed.json, ahead.json]
    second = (await stranger.get(f"/v1/admin/prices?limit=2&cursor={first['next_cursor']}")).json
    assert second["data"][0] == made.json
    stored = admin.execute(
        "SELECT input_picousd, cached_input_picousd FROM price WHERE model = 'big-1'"
    ).fetchall()
    assert stored == [(2_500_000, 1)] * 2
    assert [(one["action"], one["object"]) for one in told(admin)] == [
        ("price.enter", one.json["id"]) for one in (made, ahead, listed)
    ]


async def test_only_operators_may(
    api: Client, admin: psycopg.Connection, subtests: pytest.Subtests
) -> None:
    for method, path, body in ROUTES:
        with subtests.test(f"{method} {path}"):
            refused = await api.send(method, f"/v1/admin/{path}", body)
            assert (refused.status, refused.json["code"]) == (403, "forbidden")
    assert {one["action"] for one in told(admin)} == {"request.refuse"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "pointer"),
    [
        ("POST", "switches/everything", {"off": True, "reason": "x"}, 404, None),
        ("POST", "switches/admission", {"off": 1, "reason": "x"}, 422, "/off"),
        ("POST", "switches/admission", {"off": True}, 422, "/reason"),
        ("PUT", "caps", CAP | {"kind": "lane"}, 422, "/kind"),
        ("PUT", "caps", CAP | {"kind": "all"}, 422, "/kind"),
        ("PUT", "caps", CAP | {"kind": "key"}, 422, "/name"),
        ("PUT", "caps", CAP | {"kind": "all", "tenant": None}, 422, "/name"),
        ("PUT", "caps", CAP | {"name": ""}, 422, "/name"),
        ("PUT", "caps", CAP | {"max_running": -1}, 422, "/max_running"),
        ("PUT", "caps", CAP | {"max_running": 2**70}, 422, "/max_running"),
        ("PUT", "caps", CAP | {"tenant": "nobody"}, 404, None),
        ("DELETE", "caps?kind=all", None, 422, "/reason"),
        ("DELETE", "caps?kind=all&name=%00&reason=x", None, 400, None),
        ("POST", "prices", PRICE | {"input_usd_per_million": 2.5}, 422, "/input_usd_per_million"),
        ("POST", "prices", PRICE | {"output_usd_per_million": "0.0000001"}, 422, "/output_usd_per_million"),
        ("POST", "prices", PRICE | {"output_usd_per_million": "-1"}, 422, "/output_usd_per_million"),
        ("POST", "prices", PRICE | {"from_at": "2020-01-01T00:00:00Z"}, 422, "/from_at"),
        ("POST", "prices", PRICE | {"model": "a\n"}, 422, "/model"),
        ("POST", "prices/import", {"provider": "nobody", "model": "nothing"}, 404, None),
        ("GET", "prices?cursor=%21", None, 422, "/cursor"),
    ],
)  # fmt: skip
async def test_what_can_not_be_is_refused(
    method: str, path: str, body: Any, status: int, pointer: str | None, stranger: Client,
    admin: psycopg.Connection, tenant: TenantId,
) -> None:  # fmt: skip
    refused = await stranger.send(method, f"/v1/admin/{path}", body)
    assert refused.status == status, refused.body
    if pointer is not None:
        assert [one["pointer"] for one in refused.json["errors"]] == [pointer]
    assert told(admin) == []
