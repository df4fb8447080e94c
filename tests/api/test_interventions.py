"""`/v1/jobs/{id}/interventions`: who may answer, and with what."""

import psycopg
import pytest

from app.core import ids
from app.core.ids import TenantId
from tests.api.client import Client


@pytest.fixture
async def job(api: Client, admin: psycopg.Connection, tenant: TenantId) -> str:
    """A job that waits for a person, with one call in doubt."""
    shown = str((await api.job())["id"])
    raw, attempt = ids.parse("job", shown), ids.new()
    admin.execute(
        "INSERT INTO attempt (id, tenant, job, run, number, state, outcome, dispatched_at, lease_until, ended_at)"
        " VALUES (%s, %s, %s, 1, 1, 'ended', 'parked', now(), now(), now())",
        (attempt, tenant, raw),
    )
    admin.execute(
        "INSERT INTO tool_call (key, tenant, job, attempt, call, step, item, tool, version, effect, arguments, tries, begun_at)"
        " VALUES ('k', %s, %s, %s, %s, 'tell', 0, 'far.unsafe', '1', 'unsafe', '{\"n\": 1}', 1, now())",
        (tenant, raw, attempt, ids.new()),
    )
    admin.execute(
        "UPDATE job SET state = 'waiting', waiting_for = 'intervention' WHERE id = %s", (raw,)
    )
    return shown


async def test_a_call_in_doubt_is_seen_and_answered(job: str, api: Client) -> None:
    path = f"/v1/jobs/{job}/interventions"
    [call] = (await api.get(path)).json["data"]
    assert (call["step"], call["tool"], call["arguments"]) == ("tell", "far.unsafe", {"n": 1})
    [reason] = (await api.get(f"/v1/jobs/{job}/why")).json["reasons"]
    assert reason["code"] == "intervention"
    for wrong in ({"answer": "done"}, {"answer": "retry", "result": 1}, {"answer": "perhaps"}, {}):
        assert (await api.post(f"{path}/tell", wrong)).status == 422
    assert (await api.post(f"{path}/other", {"answer": "retry"})).status == 404
    made = await api.post(f"{path}/tell", {"answer": "done", "result": None, "comment": "seen"})
    assert (made.status, made.json["status"]) == (202, "queued")
    again = await api.post(f"{path}/tell", {"answer": "retry"})
    assert (again.status, again.json["code"]) == (409, "job_not_waiting")
    assert (await api.get(path)).json["data"] == []
