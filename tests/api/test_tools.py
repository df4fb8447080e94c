"""`/v1/tools` and the operators' grants, over HTTP."""

from pathlib import Path

import pytest

from app.bootstrap.settings import Settings
from tests.api.client import Client

FAR = Path(__file__).parents[1] / "fakes" / "far_tools"
GRANT = "/v1/admin/tenants/acme/tools/far.keyed"


@pytest.fixture
def settings(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """With a package of tools installed."""
    monkeypatch.syspath_prepend(str(FAR))
    return settings


def names(found: dict[str, object]) -> list[str]:
    data = found["data"]
    assert isinstance(data, list)
    return [one["name"] for one in data]


async def test_a_tenant_sees_and_uses_what_it_was_granted(api: Client, stranger: Client) -> None:
    assert names((await api.get("/v1/tools")).json) == ["calculator", "json.extract"]
    limits = {"properties": {"n": {"maximum": 9}}}
    made = await stranger.post(f"{GRANT}/grant", {"reason": "asked", "limits": limits})
    assert (made.status, made.json["limits"]) == (200, limits)
    listed = (await api.get("/v1/tools")).json
    assert names(listed) == ["calculator", "far.keyed", "json.extract"]
    assert listed["data"][1]["limits"] == limits
    assert names((await stranger.get("/v1/tools")).json) == ["calculator", "json.extract"]
    [held] = (await stranger.get("/v1/admin/tenants/acme/tools")).json["data"]
    assert (held["tool"], held["reason"]) == ("far.keyed", "asked")

    def calling(n: int) -> dict[str, object]:
        step = {"id": "tell", "kind": "tool", "tool": "far.keyed", "in": {"n": n}}
        return {"input": {"type": "object"}, "steps": [step], "output": None}

    assert (await api.post("/v1/workflows/w/versions", calling(9))).status == 201
    over = await api.post("/v1/workflows/w/versions", calling(10))
    assert (over.status, over.json["errors"][0]["pointer"]) == (422, "/steps/0/in/n")
    theirs = await stranger.post("/v1/workflows/w/versions", calling(9))
    assert theirs.json["errors"][0]["pointer"] == "/steps/0/tool"
    assert (await stranger.post(f"{GRANT}/revoke", {"reason": "over"})).status == 204
    assert (await stranger.post(f"{GRANT}/revoke", {"reason": "again"})).status == 404
    assert names((await api.get("/v1/tools")).json) == ["calculator", "json.extract"]


async def test_only_an_operator_grants(api: Client) -> None:
    for path in (f"{GRANT}/grant", f"{GRANT}/revoke"):
        assert (await api.post(path, {"reason": "mine"})).status == 403
    assert (await api.get("/v1/admin/tenants/acme/tools")).status == 403


async def test_a_grant_of_nothing_is_refused(stranger: Client) -> None:
    for tool, tenant, status in [("far.none", "other", 422), ("far.keyed", "nobody", 404)]:
        path = f"/v1/admin/tenants/{tenant}/tools/{tool}/grant"
        assert (await stranger.post(path, {"reason": "x"})).status == status
