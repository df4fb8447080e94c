"""A job's callback_url: one of the tenant's own enabled endpoints, or nothing."""

import psycopg
import pytest

from tests.api.client import Client
from tests.api.test_bad_input import check

URL = "https://1.1.1.1/hook"
JOB = {"workflow": "noop", "input": {}, "callback_url": URL}


async def endpoint(client: Client, url: str = URL) -> str:
    made = await client.post("/v1/webhook_endpoints", {"url": url, "events": []})
    assert (made.status, made.json["events"]) == (201, [])
    found: str = made.json["id"]
    return found


def callbacks(admin: psycopg.Connection) -> list[bool]:
    rows = admin.execute("SELECT callback IS NOT NULL FROM job ORDER BY id").fetchall()
    return [row[0] for row in rows]


async def test_a_job_names_an_endpoint_of_its_tenant(
    api: Client, admin: psycopg.Connection
) -> None:
    await endpoint(api)
    assert (await api.post("/v1/jobs", JOB)).status == 202
    bulk = {"jobs": [JOB, {"workflow": "noop", "input": {}}]}
    assert [one["status"] for one in (await api.post("/v1/jobs/bulk", bulk)).json["data"]] == [
        202,
        202,
    ]
    assert sorted(callbacks(admin)) == [False, True, True]


@pytest.mark.parametrize(
    "elsewhere",
    ["https://1.1.1.1/hook/", "https://1.1.1.1/other", "http://169.254.169.254/", "nonsense"],
)
async def test_any_other_url_is_refused_at_its_place(
    api: Client, admin: psycopg.Connection, elsewhere: str
) -> None:
    await endpoint(api)
    check(
        await api.post("/v1/jobs", JOB | {"callback_url": elsewhere}),
        422,
        "validation_failed",
        "/callback_url",
    )
    bulk = {"jobs": [JOB, JOB | {"callback_url": elsewhere}]}
    good, bad = (await api.post("/v1/jobs/bulk", bulk)).json["data"]
    assert (good["status"], bad["status"]) == (202, 422)
    assert bad["problem"]["errors"][0]["pointer"] == "/jobs/1/callback_url"
    assert callbacks(admin) == [True]


async def test_an_endpoint_of_another_tenant_is_none(api: Client, stranger: Client) -> None:
    await endpoint(stranger)
    check(await api.post("/v1/jobs", JOB), 422, "validation_failed", "/callback_url")


async def test_a_replay_is_answered_whatever_became_of_the_endpoint(
    api: Client, admin: psycopg.Connection
) -> None:
    made = await endpoint(api)
    first = await api.post("/v1/jobs", JOB, Idempotency_Key="k")
    await api.send("PATCH", f"/v1/webhook_endpoints/{made}", {"enabled": False})
    again = await api.post("/v1/jobs", JOB, Idempotency_Key="k")
    assert (again.status, again.json["id"]) == (202, first.json["id"])
    assert again.headers["Idempotent-Replayed"] == "true"
    other = JOB | {"callback_url": "https://1.1.1.1/other"}
    check(
        await api.post("/v1/jobs", other, Idempotency_Key="k"), 422, "idempotency_key_reused", None
    )
    check(await api.post("/v1/jobs", JOB), 422, "validation_failed", "/callback_url")


async def test_deliveries_on_their_way_are_listed_as_pending(
    api: Client, admin: psycopg.Connection
) -> None:
    made = await endpoint(api)
    for _ in range(2):
        assert (await api.post(f"/v1/webhook_endpoints/{made}/test")).status == 202
    admin.execute(
        "UPDATE delivery SET state = 'dispatched', lease_until = app_now() + interval '30 seconds'"
        " WHERE id = (SELECT max(id::text)::uuid FROM delivery)"
    )
    for status, count in (("pending", 2), ("delivered", 0), ("failed", 0)):
        page = await api.get(f"/v1/webhook_endpoints/{made}/deliveries?status={status}")
        assert [one["status"] for one in page.json["data"]] == [status] * count
