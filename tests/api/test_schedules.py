"""Schedules over HTTP: made, shown, changed, run, deleted; and what is refused."""

from typing import Any

import psycopg
import pytest

from tests.api.client import Client

NIGHTLY: dict[str, Any] = {
    "name": "nightly", "cron": " 30  2 * * *", "time_zone": "Europe/Berlin", "jitter_seconds": 60,
    "job": {
        "workflow": "noop@1", "input": {"n": 1}, "lane": "batch", "priority": 7, "max_cost": "0.05",
        "max_attempts": 2, "metadata": {"team": "a"}, "tags": ["night"], "end_user": "u",
        "session": "s", "unique_key": {"key": "nightly", "window_seconds": 60, "on_conflict": "reject"},
    },
}  # fmt: skip


async def made(api: Client, **fields: Any) -> dict[str, Any]:
    reply = await api.post("/v1/schedules", NIGHTLY | fields)
    assert reply.status == 201, reply.body
    body: dict[str, Any] = reply.json
    return body


async def test_a_schedule_is_made_once_a_key_and_shown_as_it_was_asked_for(api: Client) -> None:
    first = await api.post("/v1/schedules", NIGHTLY, Idempotency_Key="n")
    schedule = first.json
    assert (first.status, first.headers["Location"]) == (201, f"/v1/schedules/{schedule['id']}")
    assert schedule["job"] == NIGHTLY["job"] | {"callback_url": None}
    assert (schedule["cron"], schedule["status"]) == ("30 2 * * *", "active")
    assert (schedule["missed_runs"], schedule["overlap"]) == ("run_once", "skip")
    again = await api.post("/v1/schedules", NIGHTLY, Idempotency_Key="n")
    assert (again.status, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert again.json == schedule
    other = await api.post("/v1/schedules", NIGHTLY | {"name": "x"}, Idempotency_Key="n")
    assert (other.status, other.json["code"]) == (422, "idempotency_key_reused")
    taken = await api.post("/v1/schedules", NIGHTLY)
    assert (taken.status, taken.json["code"]) == (409, "schedule_exists")
    assert taken.json["schedule"] == schedule["id"]
    assert (await api.get(f"/v1/schedules/{schedule['id']}")).json == schedule
    ahead = (await api.get(f"/v1/schedules/{schedule['id']}/next?limit=3")).json["times"]
    assert ahead[0] == schedule["next_run_at"]
    assert len(ahead) == 3


async def test_lists_go_page_by_page(api: Client) -> None:
    wanted = [(await made(api, name=f"s{n}"))["id"] for n in range(3)]
    first = (await api.get("/v1/schedules?limit=2")).json
    second = (await api.get(f"/v1/schedules?limit=2&cursor={first['next_cursor']}")).json
    assert [one["id"] for one in first["data"] + second["data"]] == wanted[::-1]
    assert second["next_cursor"] is None
    assert (await api.get("/v1/schedules?cursor=x")).status == 422


@pytest.mark.parametrize(
    ("wrong", "pointer", "code"),
    [
        ({"cron": "61 * * * *"}, "/cron", "validation_failed"),
        ({"cron": "* * * * * *"}, "/cron", "validation_failed"),
        ({"time_zone": "Mars/Olympus"}, "/time_zone", "validation_failed"),
        ({"overlap": "allow"}, "/overlap", "validation_failed"),
        ({"missed_runs": "some"}, "/missed_runs", "validation_failed"),
        ({"jitter_seconds": -1}, "/jitter_seconds", "validation_failed"),
        ({"name": ""}, "/name", "validation_failed"),
        ({"run_at": None}, "/run_at", "validation_failed"),
        ({"job": {"workflow": "noop", "input": {}, "run_at": "2030-01-01T00:00:00Z"}}, "/job/run_at", "validation_failed"),
        ({"job": {"workflow": "noop", "input": 1}}, "/job/input", "validation_failed"),
        ({"job": {"workflow": "noop", "input": {}, "callback_url": "https://1.1.1.1/no"}}, "/job/callback_url", "validation_failed"),
        ({"job": {"workflow": "noop", "input": {}, "metadata": {str(n): n for n in range(15)}}}, "/job/metadata", "validation_failed"),
        ({"job": {"workflow": "nowhere", "input": {}}}, None, "unknown_workflow"),
    ],
)  # fmt: skip
async def test_what_does_not_fit_is_refused_when_it_is_made(
    api: Client, wrong: dict[str, Any], pointer: str | None, code: str
) -> None:
    reply = await api.post("/v1/schedules", NIGHTLY | wrong)
    assert (reply.status, reply.json["code"]) == (422, code)
    assert [one["pointer"] for one in reply.json.get("errors", [])] == [pointer] * (
        pointer is not None
    )
    assert (await api.get("/v1/schedules")).json["data"] == []


async def test_an_input_that_does_not_fit_its_workflow_is_refused_beforehand(api: Client) -> None:
    strict = {
        "name": "strict", "input": {"type": "object", "required": ["q"]},
        "steps": [{"id": "echo", "kind": "transform", "value": "=input"}], "output": 1,
    }  # fmt: skip
    await api.post("/v1/workflows/strict/versions", strict)
    reply = await api.post("/v1/schedules", NIGHTLY | {"job": {"workflow": "strict", "input": {}}})
    assert (reply.status, reply.json["code"]) == (422, "validation_failed")
    assert reply.json["errors"][0]["pointer"] == "/job/input"


async def test_it_is_paused_resumed_changed_and_deleted(
    api: Client, admin: psycopg.Connection
) -> None:
    path = f"/v1/schedules/{(await made(api))['id']}"
    paused = (await api.send("PATCH", path, {"paused": True})).json
    assert (paused["status"], paused["next_run_at"]) == ("paused", None)
    resumed = (await api.send("PATCH", path, {"paused": False})).json
    assert resumed["status"] == "active"
    change = {"cron": "0 4 * * 1", "overlap": "queue", "job": {"workflow": "noop", "input": {}}}
    changed = (await api.send("PATCH", path, change)).json
    assert (changed["cron"], changed["overlap"]) == ("0 4 * * 1", "queue")
    assert (changed["job"]["tags"], changed["job"]["workflow"]) == ([], "noop")
    unfit = await api.send("PATCH", path, {"cron": "x"})
    assert (unfit.status, unfit.json["errors"][0]["pointer"]) == (422, "/cron")
    await made(api, name="second")
    taken = await api.send("PATCH", path, {"name": "second"})
    assert (taken.status, taken.json["code"]) == (409, "schedule_exists")
    assert (await api.get(path)).json == changed
    assert (await api.delete(path)).status == 204
    assert (await api.delete(path)).status == 404
    entries = admin.execute(
        "SELECT action, count(*) FROM audit_entry WHERE action LIKE 'schedule.%' GROUP BY 1 ORDER BY 1"
    ).fetchall()
    assert entries == [("schedule.change", 3), ("schedule.create", 2), ("schedule.delete", 1)]


async def test_by_hand_it_runs_now_and_the_run_is_listed(api: Client) -> None:
    schedule = await made(api, job={"workflow": "noop", "input": {"n": 1}}, paused=True)
    path = f"/v1/schedules/{schedule['id']}"
    first = await api.post(f"{path}/run", Idempotency_Key="r")
    again = await api.post(f"{path}/run", Idempotency_Key="r")
    assert (first.status, again.status) == (202, 202)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json["job"] == first.json["job"]
    job = (await api.get(f"/v1/jobs/{first.json['job']}")).json
    assert (job["input"], job["metadata"]) == ({"n": 1}, {"towpath.schedule": schedule["id"]})
    assert (await api.get(f"{path}/runs")).json["data"] == [first.json]


async def test_a_tenant_may_have_so_many(api: Client, admin: psycopg.Connection) -> None:
    await made(api)
    admin.execute(
        "INSERT INTO schedule (id, tenant, name, cron, time_zone, missed_runs, overlap, jitter_seconds, job,"
        " paused_at, created_at, updated_at) SELECT uuidv7(), tenant, name || n, cron, time_zone, missed_runs,"
        " overlap, 0, job, app_now(), app_now(), app_now() FROM schedule, generate_series(2, 100) n"
    )
    full = await api.post("/v1/schedules", NIGHTLY | {"name": "more"})
    assert (full.status, full.json["code"]) == (422, "validation_failed")


async def test_an_expression_is_tried_before_it_is_kept(api: Client) -> None:
    asked = "cron=30+2+*+*+*&time_zone=Europe/Berlin&after=2026-10-24T12:00:00Z&limit=2"
    shown = await api.get(f"/v1/schedules/preview?{asked}")
    assert shown.json["times"] == ["2026-10-25T00:30:00.000000Z", "2026-10-26T01:30:00.000000Z"]
    assert (await api.get("/v1/schedules/preview?cron=x")).status == 422
    assert (await api.get("/v1/schedules/preview")).status == 422
