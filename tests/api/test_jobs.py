"""Jobs over HTTP: admitted once an intent, seen, listed, cancelled, retried."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import psycopg

from app.core import ids
from tests.api.client import Client
from tests.waiting import until


async def test_a_job_is_accepted_and_shown(api: Client) -> None:
    sent = {
        "workflow": "noop", "input": {"q": "a\\u0000b"}, "lane": "batch", "priority": 7,
        "max_cost": "0.05", "metadata": {"order": 7}, "tags": ["a", "b"], "end_user": "u-1",
        "session": "s-1", "deadline_at": "2036-01-01T00:00:00+01:00",
    }  # fmt: skip
    admitted = await api.post("/v1/jobs", sent)
    assert admitted.status == 202, admitted.body
    job = admitted.json
    assert admitted.headers["Location"] == f"/v1/jobs/{job['id']}"
    assert (job["status"], job["max_cost"], job["deadline_at"]) == (
        "queued", "0.05", "2035-12-31T23:00:00.000000Z",
    )  # fmt: skip
    shown = await api.get(f"/v1/jobs/{job['id']}")
    assert shown.status == 200
    # What was answered without a read is what a read gives, but for the place in the queue.
    assert shown.json == job | {"queue_position": 1}


async def test_the_same_intent_is_answered_with_the_first_job(api: Client) -> None:
    body = {"workflow": "noop", "input": {"a": 1, "b": {"c": [2]}}, "tags": ["x"]}
    first = await api.post("/v1/jobs", body, Idempotency_Key='"order-7"')
    assert "Idempotent-Replayed" not in first.headers
    await api.post(f"/v1/jobs/{first.json['id']}/cancel")
    reordered = b'{ "tags": ["x"], "input": {"b": {"c": [2]}, "a": 1}, "workflow": "noop" }'
    again = await api.post("/v1/jobs", reordered, Idempotency_Key="order-7")
    assert again.status == 202
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Location"] == first.headers["Location"]
    # The job as it is now, not as it was answered then.
    assert (again.json["id"], again.json["status"]) == (first.json["id"], "cancelled")


async def test_a_key_stands_for_one_body_of_one_tenant(api: Client, stranger: Client) -> None:
    """C008."""
    body = {"workflow": "noop", "input": {"n": 1}}
    first = await api.post("/v1/jobs", body, Idempotency_Key="k")
    other_body = await api.post("/v1/jobs", body | {"input": {"n": 2}}, Idempotency_Key="k")
    assert (other_body.status, other_body.json["code"]) == (422, "idempotency_key_reused")
    unknown_field = await api.post("/v1/jobs", body | {"x": 1}, Idempotency_Key="k")
    assert unknown_field.status == 422
    other_tenant = await stranger.post("/v1/jobs", body, Idempotency_Key="k")
    assert other_tenant.status == 202
    assert other_tenant.json["id"] != first.json["id"]
    assert "Idempotent-Replayed" not in other_tenant.headers
    other_route = await api.post("/v1/collections", {"name": "c"}, Idempotency_Key="k")
    assert (other_route.status, "Idempotent-Replayed" in other_route.headers) == (201, False)
    assert len((await api.get("/v1/jobs")).json["data"]) == 1


async def test_fifty_clients_with_one_key_get_one_job(
    api: Client, admin: psycopg.Connection
) -> None:
    """C007, in one process; tests/concurrency holds the race of two."""
    body = {"workflow": "noop", "input": {}}
    replies = await asyncio.gather(
        *[api.post("/v1/jobs", body, Idempotency_Key="race") for _ in range(50)]
    )
    assert {reply.status for reply in replies} == {202}
    assert len({reply.json["id"] for reply in replies}) == 1
    assert sum("Idempotent-Replayed" not in reply.headers for reply in replies) == 1
    counts = admin.execute(
        "SELECT (SELECT count(*) FROM job), (SELECT count(*) FROM job_event),"
        " (SELECT count(*) FROM audit_entry WHERE action = 'job.admit')"
    ).fetchone()
    assert counts == (1, 1, 1)


async def test_good_neighbours_of_bad_items_are_admitted(api: Client) -> None:
    """C001: three bodies arrive together; the one that only looks bad is stored as it is."""
    harmless = {"workflow": "noop", "input": {"q": r"a\u0000b"}}
    nul = b'{"workflow": "noop", "input": {"q": "a\\u0000b"}}'
    replies = await asyncio.gather(
        *[
            api.post("/v1/jobs", body)
            for body in (nul, harmless, nul, {"workflow": "noop", "input": {}})
        ]
    )
    assert [reply.status for reply in replies] == [400, 202, 400, 202]
    shown = await api.get(replies[1].headers["Location"])
    assert shown.json["input"] == harmless["input"]


async def test_a_bulk_is_answered_item_by_item(api: Client) -> None:
    good = {"workflow": "noop", "input": {"n": 1}}
    items = [good, {"workflow": "nowhere", "input": {}}, good | {"priority": 11}, 7, good]
    first = await api.post("/v1/jobs/bulk", {"jobs": items}, Idempotency_Key="bulk-1")
    assert first.status == 207
    outcomes = first.json["data"]
    assert [one["status"] for one in outcomes] == [202, 422, 422, 422, 202]
    assert [one["problem"] and one["problem"]["code"] for one in outcomes[1:4]] == [
        "unknown_workflow", "validation_failed", "validation_failed",
    ]  # fmt: skip
    assert outcomes[2]["problem"]["errors"][0]["pointer"] == "/jobs/2/priority"
    assert outcomes[3]["problem"]["errors"][0]["pointer"] == "/jobs/3"
    again = await api.post("/v1/jobs/bulk", {"jobs": items}, Idempotency_Key="bulk-1")
    assert [one["job"] and one["job"]["id"] for one in again.json["data"]] == [
        one["job"] and one["job"]["id"] for one in outcomes
    ]
    assert [one["replayed"] for one in again.json["data"]] == [True, False, False, False, True]
    own = [good | {"idempotency_key": "mine"}]
    moved = await api.post("/v1/jobs/bulk", {"jobs": own}, Idempotency_Key="bulk-2")
    alone = await api.post("/v1/jobs", good, Idempotency_Key="mine")
    assert alone.json["id"] == moved.json["data"][0]["job"]["id"]


async def test_a_thousand_jobs_in_one_request(api: Client) -> None:
    reply = await api.post("/v1/jobs/bulk", {"jobs": [{"workflow": "noop", "input": {}}] * 1_000})
    assert [one["status"] for one in reply.json["data"]] == [202] * 1_000


async def test_pages_are_newest_first_and_stand_still(api: Client) -> None:
    made = [(await api.job(tags=["t"]))["id"] for _ in range(5)]
    first = (await api.get("/v1/jobs?limit=2")).json
    await api.job()  # arrives between two pages
    second = (await api.get(f"/v1/jobs?limit=2&cursor={first['next_cursor']}")).json
    third = (await api.get(f"/v1/jobs?limit=2&cursor={second['next_cursor']}")).json
    seen = [job["id"] for page in (first, second, third) for job in page["data"]]
    assert seen == made[::-1]
    assert third["next_cursor"] is None


async def test_lists_are_narrowed_by_every_filter_together(api: Client) -> None:
    wanted = await api.job(lane="batch", tags=["red", "blue"])
    await api.job(lane="batch")
    await api.job(tags=["red"])
    cancelled = await api.job()
    await api.post(f"/v1/jobs/{cancelled['id']}/cancel")

    async def found(query: str) -> list[str]:
        return [job["id"] for job in (await api.get(f"/v1/jobs?{query}")).json["data"]]

    assert await found("status=cancelled") == [cancelled["id"]]
    assert await found("lane=batch&tag=red&workflow=noop&status=queued") == [wanted["id"]]
    assert await found("workflow=other") == []
    assert len(await found(f"created_after={wanted['created_at']}")) == 3
    assert await found(f"created_before={wanted['created_at']}") == []


async def test_a_job_is_cancelled_once_and_an_ended_one_is_not(
    api: Client, admin: psycopg.Connection
) -> None:
    job = await api.job()
    first = await api.post(f"/v1/jobs/{job['id']}/cancel")
    assert (first.status, first.json["status"]) == (202, "cancelled")
    again = await api.post(f"/v1/jobs/{job['id']}/cancel")
    assert (again.status, again.json["finished_at"]) == (202, first.json["finished_at"])
    ended = await api.job()
    fail(admin, ended["id"])
    refused = await api.post(f"/v1/jobs/{ended['id']}/cancel")
    assert (refused.status, refused.json["code"]) == (409, "job_finished")
    assert refused.json["status"] == 409
    assert refused.json["current_status"] == "failed"


async def test_a_failed_job_is_retried_once_a_key(api: Client, admin: psycopg.Connection) -> None:
    job = await api.job()
    refused = await api.post(f"/v1/jobs/{job['id']}/retry")
    assert (refused.status, refused.json["code"]) == (409, "job_not_retryable")
    fail(admin, job["id"])
    first = await api.post(f"/v1/jobs/{job['id']}/retry", Idempotency_Key="r")
    assert (first.status, first.json["status"], first.json["run"]) == (202, "queued", 2)
    assert first.json["error"] is None
    again = await api.post(f"/v1/jobs/{job['id']}/retry", Idempotency_Key="r")
    assert (again.status, again.json["run"]) == (202, 2)
    assert again.headers["Idempotent-Replayed"] == "true"


async def test_a_scheduled_job_is_shown_so(api: Client) -> None:
    job = await api.job(run_at="2036-01-01T00:00:00Z")
    shown = (await api.get(f"/v1/jobs/{job['id']}")).json
    assert (job["status"], shown["status"]) == ("scheduled", "scheduled")
    assert shown["queue_position"] is None


async def test_an_unchanged_job_is_an_empty_answer(api: Client) -> None:
    job = await api.job()
    first = await api.get(f"/v1/jobs/{job['id']}")
    tag = first.headers["ETag"]
    same = await api.get(f"/v1/jobs/{job['id']}", If_None_Match=f'"other", W/{tag}')
    assert (same.status, same.body, same.headers["ETag"]) == (304, b"", tag)
    await api.post(f"/v1/jobs/{job['id']}/cancel")
    changed = await api.get(f"/v1/jobs/{job['id']}", If_None_Match=tag)
    assert changed.status == 200
    assert changed.headers["ETag"] != tag


async def test_waiting_ends_with_the_job(api: Client, url: str) -> None:
    job = await api.job()
    waits = [asyncio.create_task(api.get(f"/v1/jobs/{job['id']}?wait=30")) for _ in range(20)]
    await until(watched(api, 20))
    began = time.monotonic()
    await api.post(f"/v1/jobs/{job['id']}/cancel")
    replies = await asyncio.gather(*waits)
    assert {reply.json["status"] for reply in replies} == {"cancelled"}
    assert time.monotonic() - began < 10
    late = await api.get(f"/v1/jobs/{job['id']}?wait=30")
    assert late.json["status"] == "cancelled"


async def test_waiting_ends_with_its_seconds(api: Client) -> None:
    job = await api.job()
    reply = await api.get(f"/v1/jobs/{job['id']}?wait=0.05")
    assert (reply.status, reply.json["status"]) == (200, "queued")


async def test_an_empty_budget_is_said_in_money(api: Client, admin: psycopg.Connection) -> None:
    admin.execute("UPDATE budget_account SET limit_nanousd = 0")
    reply = await api.post("/v1/jobs", {"workflow": "noop", "input": {}}, Idempotency_Key="k")
    assert (reply.status, reply.json["code"]) == (402, "budget_exhausted")
    assert reply.headers["x-should-retry"] == "false"
    assert reply.json["budget"]["account"] == "tenant"
    assert reply.json["budget"]["limit"] == "0"
    admin.execute("UPDATE budget_account SET limit_nanousd = 1000000000")
    again = await api.post("/v1/jobs", {"workflow": "noop", "input": {}}, Idempotency_Key="k")
    assert again.status == 202


def fail(admin: psycopg.Connection, job: str) -> None:
    """The job has failed, as if a worker had run it."""
    admin.execute(
        "UPDATE job SET state = 'failed', finished_at = app_now(), started_at = app_now(),"
        """ error = '{"code": "step_failed", "message": "No.", "step": "echo", "retryable": true}'"""
        " WHERE id = %s",
        (ids.parse("job", job),),
    )


def watched(api: Client, count: int) -> Callable[[], Awaitable[bool]]:
    async def enough() -> bool:
        return f"towpath_watching_clients {count}.0" in (await api.get("/metrics")).body.decode()

    return enough
