"""Operators' routes over the queue: pauses and drains are made, shown and undone; nobody else may."""

import psycopg
import pytest

from app.core import ids
from app.core.ids import TenantId
from tests.api.client import Client
from tests.arrange import make_worker

# `stranger` has every scope, the operators' too; `api` has all but that one.
MOVES = (
    "/v1/admin/lanes/batch/pause", "/v1/admin/tenants/acme/drain",
    "/v1/admin/workflows/noop/resume",
)  # fmt: skip


async def test_a_lane_is_paused_drained_and_resumed(
    api: Client, stranger: Client, admin: psycopg.Connection, tenant: TenantId
) -> None:
    await api.job(lane="batch")
    paused = await stranger.post(MOVES[0], {"reason": "storm"})
    again = await stranger.post(MOVES[0], {"reason": "again"})
    assert paused.status == 200
    assert paused.json == again.json
    assert (paused.json["kind"], paused.json["name"], paused.json["tenant"]) == (
        "lane", "batch", None,
    )  # fmt: skip
    assert paused.json["paused"]["reason"] == "storm"
    assert paused.json["paused"]["by"].startswith("key_")
    assert paused.json["left"] == {"queued": 1, "running": 0, "waiting": 0}
    assert (
        await api.post("/v1/jobs", {"workflow": "noop", "input": {}, "lane": "batch"})
    ).status == 202
    drained = await stranger.post(
        "/v1/admin/lanes/batch/drain", {"reason": "moving", "tenant": "acme"}
    )
    assert (drained.json["tenant"], drained.json["left"]["queued"]) == ("acme", 2)
    shown = (await stranger.get("/v1/admin/pauses")).json["data"]
    assert [(one["tenant"], one["paused"] is None) for one in shown] == [
        (None, False), ("acme", True),
    ]  # fmt: skip
    [_, _, lane] = (await stranger.get("/v1/admin/lanes")).json["data"]
    assert (lane["name"], lane["share"], lane["paused"]["reason"]) == ("batch", 2, "storm")
    for body in ({"reason": "over"}, {"reason": "over", "tenant": "acme"}):
        over = await stranger.post("/v1/admin/lanes/batch/resume", body)
        assert (over.json["paused"], over.json["draining"]) == (None, None)
    assert (await stranger.get("/v1/admin/pauses")).json["data"] == []


@pytest.mark.parametrize(
    ("part", "body", "scope"),
    [
        ("tenants/acme", {}, "tenant"),
        ("lanes/standard", {}, "lane"),
        ("lanes/standard", {"tenant": "acme"}, "lane"),
        ("workflows/noop", {}, "workflow"),
        ("workflows/noop", {"tenant": "acme"}, "workflow"),
    ],
)
async def test_what_is_drained_admits_nothing(
    part: str, body: dict[str, str], scope: str, api: Client, stranger: Client
) -> None:
    made = await stranger.post(f"/v1/admin/{part}/drain", {"reason": "we move", **body})
    assert made.status == 200
    assert made.json["empty"] is True
    refused = await api.post("/v1/jobs", {"workflow": "noop", "input": {}})
    assert (refused.status, refused.json["code"], refused.json["scope"]) == (
        503, "draining", scope,
    )  # fmt: skip
    assert "we move" in refused.json["detail"]
    assert refused.headers["Retry-After"] == "30"
    bulk = await api.post("/v1/jobs/bulk", {"jobs": [{"workflow": "noop", "input": {}}]})
    assert [one["status"] for one in bulk.json["data"]] == [503]
    if "tenant" in body or scope == "tenant":
        assert (await stranger.post("/v1/jobs", {"workflow": "noop", "input": {}})).status == 202


async def test_a_worker_is_drained_until_it_is_empty(
    stranger: Client, admin: psycopg.Connection, tenant: TenantId
) -> None:
    worker = make_worker(admin, 5)
    wire = ids.wire("wrk", worker)
    [shown] = (await stranger.get("/v1/admin/workers")).json["data"]
    assert (shown["id"], shown["state"], shown["slots"]) == (wire, "live", 5)
    made = await stranger.post(f"/v1/admin/workers/{wire}/drain", {"reason": "new kernel"})
    assert (made.json["kind"], made.json["name"], made.json["empty"]) == ("worker", wire, True)
    [shown] = (await stranger.get("/v1/admin/workers")).json["data"]
    assert (shown["state"], shown["draining"]["reason"]) == ("drained", "new kernel")
    lanes = (await stranger.get("/v1/admin/lanes")).json["data"]
    assert {one["workers"] for one in lanes} == {0}
    await stranger.post(f"/v1/admin/workers/{wire}/resume", {"reason": "done"})
    lanes = (await stranger.get("/v1/admin/lanes")).json["data"]
    assert {(one["workers"], one["slots"]) for one in lanes} == {(1, 5)}


async def test_only_operators_may(api: Client, admin: psycopg.Connection) -> None:
    refused = [await api.post(path, {"reason": "x"}) for path in MOVES]
    refused += [await api.get(f"/v1/admin/{name}") for name in ("pauses", "lanes", "workers")]
    assert {(one.status, one.json["code"]) for one in refused} == {(403, "forbidden")}
    assert admin.execute("SELECT count(*) FROM pause").fetchone() == (0,)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("tenants/nobody/pause", {"reason": "x"}, 404),
        ("tenants/ten_01m895sjcee159v6fxvjxyjb9d/pause", {"reason": "x"}, 404),
        ("lanes/batch/pause", {"reason": "x", "tenant": "nobody"}, 404),
        ("workers/wrk_01m895sjcee159v6fxvqv1yvpp/drain", {"reason": "x"}, 404),
        ("workers/1/drain", {"reason": "x"}, 404),
        ("lanes/slow/pause", {"reason": "x"}, 422),
        ("lanes/batch/stop", {"reason": "x"}, 422),
        ("lanes/batch/pause", {}, 422),
        ("lanes/batch/pause", {"reason": "  "}, 422),
        ("tenants/acme/pause", {"reason": "x", "tenant": "other"}, 422),
    ],
)
async def test_what_can_not_be_paused_is_refused(
    path: str, body: dict[str, str], status: int, stranger: Client, admin: psycopg.Connection,
    tenant: TenantId,
) -> None:  # fmt: skip
    assert (await stranger.post(f"/v1/admin/{path}", body)).status == status
    assert admin.execute("SELECT count(*) FROM pause").fetchone() == (0,)
