"""Moving jobs and asking why, over HTTP."""

from datetime import UTC, datetime

import psycopg

from app.core import ids
from app.core.ids import TenantId
from tests.api.client import Client
from tests.waiting import until


async def test_a_tenant_moves_its_job_that_waits(
    api: Client, stranger: Client, admin: psycopg.Connection
) -> None:
    first, second = await api.job(), await api.job()
    moved = await api.post(f"/v1/jobs/{second['id']}/move", {"priority": 9})
    assert (moved.status, moved.json["priority"], moved.json["queue_position"]) == (200, 9, 1)
    assert (await api.get(f"/v1/jobs/{first['id']}")).json["queue_position"] == 2
    moved = await api.post(f"/v1/jobs/{second['id']}/move", {"lane": "batch"})
    assert (moved.json["lane"], moved.json["priority"]) == ("batch", 9)
    events = await api.get(f"/v1/jobs/{second['id']}/events", accept="application/json")
    assert [one["type"] for one in events.json["data"]] == ["job.queued", "job.moved", "job.moved"]
    await stranger.post("/v1/admin/lanes/interactive/drain", {"reason": "full"})

    async def drained() -> bool:
        refused = await api.post(f"/v1/jobs/{second['id']}/move", {"lane": "interactive"})
        await api.post(f"/v1/jobs/{second['id']}/move", {"lane": "batch"})
        return refused.status == 503 and refused.json["code"] == "draining"

    await until(drained, seconds=5, what="the drain is known")
    await api.post(f"/v1/jobs/{first['id']}/cancel")
    ended = await api.post(f"/v1/jobs/{first['id']}/move", {"priority": 1})
    assert (ended.status, ended.json["code"], ended.json["current_status"]) == (
        409, "job_not_waiting", "cancelled",
    )  # fmt: skip
    for body in ({}, {"priority": 10}, {"lane": "quarantine"}):
        assert (await api.post(f"/v1/jobs/{second['id']}/move", body)).status == 422


async def test_operators_move_many(api: Client, stranger: Client, tenant: TenantId) -> None:
    mine = [await api.job(tags=["night"]) for _ in range(2)]
    await api.job()
    await stranger.job(tags=["night"])
    body = {"which": {"tag": "night"}, "to": {"lane": "batch"}, "reason": "in the way"}
    assert (await api.post("/v1/admin/jobs/move", body)).status == 403
    named = body | {"which": {"tag": "night", "tenant": ids.wire("ten", tenant)}}
    done = await stranger.post("/v1/admin/jobs/move", named)
    assert done.json == {"object": "jobs.moved", "moved": 2, "kept": 0, "more": False}
    assert (await api.get(f"/v1/jobs/{mine[0]['id']}")).json["lane"] == "batch"
    assert (await stranger.post("/v1/admin/jobs/move", body)).json["moved"] == 1
    for which, status in (({}, 422), ({"tenant": "nobody"}, 404), ({"status": "running"}, 422)):
        refused = await stranger.post("/v1/admin/jobs/move", body | {"which": which})
        assert refused.status == status


async def test_why_shows_what_the_job_shows(
    api: Client, stranger: Client, admin: psycopg.Connection
) -> None:
    await api.job()
    job = await api.job()
    scheduled = await api.job(run_at=datetime(2999, 1, 1, tzinfo=UTC).isoformat())
    await stranger.post("/v1/admin/workflows/noop/pause", {"reason": "new version"})
    found = await api.get(f"/v1/jobs/{job['id']}/why")
    assert found.status == 200
    assert [one["code"] for one in found.json["reasons"]] == [
        "paused", "no_workers", "dispatcher", "turn",
    ]  # fmt: skip
    shown = (await api.get(f"/v1/jobs/{job['id']}")).json
    assert (found.json["queue_position"], found.json["status"]) == (
        shown["queue_position"], shown["status"],
    )  # fmt: skip
    assert found.json["reasons"][3]["position"] == 2
    when = (await api.get(f"/v1/jobs/{scheduled['id']}/why")).json
    assert when["reasons"][0]["until"] == "2999-01-01T00:00:00.000000Z"
    assert when["queue_position"] is None
