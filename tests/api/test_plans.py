"""Operators' routes over plans and tenants' own limits: what is set holds, and goes again."""

from typing import Any

import psycopg
import pytest

from app.core.ids import TenantId
from tests.api.client import Client
from tests.api.test_tenants import told

PLAN, OWN = "/v1/admin/plans/small", "/v1/admin/tenants/acme/limits"
RATE = {"per_minute": 60, "burst": 5, "reason": "agreed"}
QUEUE = {"lane": "batch", "max_jobs": 9, "max_cost": "0.000000001", "reason": "agreed"}
ROUTES: list[tuple[str, str, Any]] = [
    ("GET", "/v1/admin/plans", None),
    ("POST", "/v1/admin/plans", {"name": "large"}),
    ("GET", PLAN, None),
    ("PUT", f"{PLAN}/limits/rate", RATE),
    ("PUT", f"{PLAN}/limits/queue", QUEUE),
    ("DELETE", f"{PLAN}/limits?name=batch&reason=x", None),
    ("GET", OWN, None),
    ("PUT", f"{OWN}/rate", RATE),
    ("PUT", f"{OWN}/queue", QUEUE),
    ("DELETE", f"{OWN}?name=batch&reason=x", None),
]


def names(limits: Any) -> list[str]:
    return [one["name"] for one in limits["rates"]] + [one["lane"] for one in limits["queues"]]


async def test_a_plans_limits_hold_until_the_tenant_has_its_own(
    api: Client, stranger: Client, admin: psycopg.Connection
) -> None:
    made = await stranger.post("/v1/admin/plans", {"name": "small"}, Idempotency_Key="p-1")
    again = await stranger.post("/v1/admin/plans", {"name": "small"}, Idempotency_Key="p-1")
    assert (made.status, again.json, names(made.json)) == (201, made.json, [])
    assert again.headers["Idempotent-Replayed"] == "true"
    await stranger.send("PUT", f"{PLAN}/limits/rate", RATE)
    plan = (await stranger.send("PUT", f"{PLAN}/limits/queue", QUEUE)).json
    assert plan["queues"] == [
        {"lane": "batch", "max_jobs": 9, "max_cost": "0.000000001", "max_age_seconds": None}
    ]
    assert (await stranger.get("/v1/admin/plans")).json["data"] == [plan]
    assert (await stranger.get(made.headers["Location"])).json == plan
    put_on = await stranger.send(
        "PATCH", "/v1/admin/tenants/acme", {"plan": "small", "reason": "signed"}
    )
    assert put_on.json["plan"] == "small"
    inherited = (await stranger.get(OWN)).json
    assert (inherited["rates"], inherited["own"]) == (plan["rates"], [])

    own = (await stranger.send("PUT", f"{OWN}/rate", RATE | {"per_minute": 600})).json
    assert ([one["per_minute"] for one in own["rates"]], own["own"]) == ([600], ["tenant-requests"])
    assert own["queues"] == plan["queues"]
    assert [one["per_minute"] for one in (await api.get("/v1/limits")).json["rates"]] == [600]
    clear = f"{OWN}?name=tenant-requests&reason=over"
    assert (await stranger.delete(clear)).json == inherited
    gone = (await stranger.delete(clear)).json
    assert (names(gone), gone["own"]) == (["batch"], ["tenant-requests"])
    assert (await stranger.delete(clear)).json == inherited
    left = await stranger.delete(f"{PLAN}/limits?name=batch&reason=over")
    assert names(left.json) == ["tenant-requests"]
    actions = [one["action"] for one in told(admin)]
    assert actions == [
        "plan.create", *["plan.set_limits"] * 2, "tenant.set_caps", *["tenant.set_limits"] * 4,
        "plan.set_limits",
    ]  # fmt: skip
    assert told(admin)[-1]["reason"] == "over"


async def test_a_limit_of_a_route_is_cleared_by_its_name(
    stranger: Client, tenant: TenantId
) -> None:
    only = RATE | {"route": "POST /v1/jobs", "of": "key", "unit": "tokens", "when_lost": "refuse"}
    made = (await stranger.send("PUT", f"{OWN}/rate", only)).json
    assert names(made) == ["key-tokens POST /v1/jobs"]
    assert made["rates"][0] | only == made["rates"][0] | {"reason": "agreed"}
    over = await stranger.delete(f"{OWN}?name=key-tokens%20POST%20/v1/jobs&reason=over")
    assert (over.status, names(over.json), over.json["own"]) == (200, [], [])


async def test_only_operators_may(
    api: Client, stranger: Client, admin: psycopg.Connection, subtests: pytest.Subtests
) -> None:
    await stranger.post("/v1/admin/plans", {"name": "small"})
    for method, path, body in ROUTES:
        with subtests.test(f"{method} {path}"):
            refused = await api.send(method, path, body)
            assert (refused.status, refused.json["code"]) == (403, "forbidden")
    assert {one["action"] for one in told(admin)} == {"plan.create", "request.refuse"}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "pointer"),
    [
        ("POST", "plans", {"name": "Not This"}, 422, "/name"),
        ("POST", "plans", {"name": "x", "limits": {}}, 422, "/limits"),
        ("GET", "plans/none", None, 404, None),
        ("PUT", "plans/none/limits/rate", RATE, 404, None),
        ("DELETE", "plans/none/limits?name=batch&reason=x", None, 404, None),
        ("GET", "tenants/nobody/limits", None, 404, None),
        ("PUT", "tenants/acme/limits/rate", RATE | {"per_minute": 0}, 422, "/per_minute"),
        ("PUT", "tenants/acme/limits/rate", RATE | {"burst": True}, 422, "/burst"),
        ("PUT", "tenants/acme/limits/rate", RATE | {"of": "planet"}, 422, "/of"),
        ("PUT", "tenants/acme/limits/rate", RATE | {"route": 'a "b"'}, 422, "/route"),
        ("PUT", "tenants/acme/limits/rate", {"per_minute": 1}, 422, "/reason"),
        ("PUT", "tenants/acme/limits/queue", QUEUE | {"lane": "slow"}, 422, "/lane"),
        ("PUT", "tenants/acme/limits/queue", QUEUE | {"max_cost": 5}, 422, "/max_cost"),
        ("PUT", "tenants/acme/limits/queue", QUEUE | {"max_jobs": -1}, 422, "/max_jobs"),
        ("DELETE", "tenants/acme/limits?name=batch", None, 422, "/reason"),
        ("DELETE", "tenants/acme/limits?name=no-such&reason=x", None, 404, None),
    ],
)
async def test_what_can_not_be_is_refused(
    method: str, path: str, body: Any, status: int, pointer: str | None, stranger: Client,
    admin: psycopg.Connection, tenant: TenantId,
) -> None:  # fmt: skip
    refused = await stranger.send(method, f"/v1/admin/{path}", body)
    assert refused.status == status, refused.body
    if pointer is not None:
        assert [one["pointer"] for one in refused.json["errors"]] == [pointer]
    assert told(admin) == []
