"""Limits over HTTP: what a client is told, and that it can go by it."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from app.audit.trail import PLATFORM
from app.bootstrap.settings import Settings
from app.core.db import Database
from app.core.ids import TenantId
from app.tenants import keys, limits
from app.tenants.limits import Rate
from tests.api.client import Client, Reply
from tests.api.conftest import OPERATOR, serving
from tests.api.contract import Contract
from tests.waiting import until


def set_rates(admin: psycopg.Connection, tenant: TenantId, *rates: Rate) -> None:
    held: dict[str, Any] = {}
    for rate in rates:
        held = limits.with_rate(held, rate)
    admin.execute("UPDATE tenant SET limits = %s WHERE id = %s", (Jsonb(held), tenant))


async def served_after(api: Client, seconds: float, send: Any) -> Reply:
    """The answer to what is sent once so many seconds have passed."""
    end = asyncio.get_running_loop().time() + seconds

    async def due() -> bool:
        return asyncio.get_running_loop().time() >= end

    await until(due, seconds=seconds + 20)
    reply: Reply = await send()
    return reply


async def test_what_is_left_is_told_with_every_answer(
    api: Client, admin: psycopg.Connection, tenant: TenantId
) -> None:
    set_rates(admin, tenant, Rate("tenant", "requests", 60, 10), Rate("key", "requests", 600, 600))
    admitted = await api.post("/v1/jobs", {"workflow": "noop", "input": {}})
    read = await api.get("/v1/me")
    assert admitted.status == 202
    assert (
        admitted.headers["RateLimit-Policy"]
        == '"key-requests";q=600;w=60, "tenant-requests";q=10;w=10'
    )
    assert admitted.headers["RateLimit"] == '"key-requests";r=599;t=1, "tenant-requests";r=9;t=1'
    assert admitted.headers["x-ratelimit-limit-requests"] == "10"
    assert admitted.headers["x-ratelimit-remaining-requests"] == "9"
    assert "x-ratelimit-limit-tokens" not in admitted.headers
    assert read.headers["x-ratelimit-remaining-requests"] == "8"


async def test_without_a_limit_nothing_is_told(api: Client) -> None:
    read = await api.get("/v1/me")
    assert "RateLimit" not in read.headers


async def test_a_client_that_waits_as_told_is_served(
    api: Client, admin: psycopg.Connection, tenant: TenantId
) -> None:
    """Twelve come at once to a limit of four; each of the refused comes back when it was told to."""
    set_rates(admin, tenant, Rate("tenant", "requests", 240, 4))

    async def post() -> Reply:
        return await api.post("/v1/jobs", {"workflow": "noop", "input": {}})

    replies = await asyncio.gather(*[post() for _ in range(12)])
    refused = [reply for reply in replies if reply.status == 429]
    assert len(refused) == 8
    assert {reply.json["code"] for reply in refused} == {"rate_limited_requests"}
    for reply in refused:
        assert reply.headers["RateLimit"].endswith(f";t={reply.headers['Retry-After']}")
        assert reply.headers["x-ratelimit-reset-requests"] == reply.headers["Retry-After"]
        assert reply.headers["x-ratelimit-remaining-requests"] == "0"
        assert reply.json["limit"] == "tenant-requests"
    again = await asyncio.gather(
        *[served_after(api, float(reply.headers["Retry-After"]), post) for reply in refused]
    )
    assert [reply.status for reply in again] == [202] * 8


async def test_a_long_wait_is_cut_for_clients_and_told_in_full(
    api: Client, admin: psycopg.Connection, tenant: TenantId
) -> None:
    hourly = Rate("tenant", "requests", 1, 1, route="POST /v1/jobs")
    set_rates(admin, tenant, hourly)
    replies = [await api.post("/v1/jobs", {"workflow": "noop", "input": {}}) for _ in range(4)]
    assert [reply.status for reply in replies] == [202, 429, 429, 429]
    assert [reply.headers.get("Retry-After") for reply in replies] == [None, "60", "120", "120"]
    assert "retry_at" not in replies[2].json
    assert replies[3].json["retry_at"].endswith("Z")


async def test_a_limit_of_one_route_leaves_the_others_alone(
    api: Client, admin: psycopg.Connection, tenant: TenantId
) -> None:
    set_rates(admin, tenant, Rate("tenant", "requests", 1, 1, route="GET /v1/me"))
    assert [(await api.get("/v1/me")).status for _ in range(2)] == [200, 429]
    assert (await api.get("/v1/keys")).status == 200
    assert (await api.job())["status"] == "queued"


async def test_each_end_user_has_a_bucket_of_its_own(
    api: Client, admin: psycopg.Connection, tenant: TenantId
) -> None:
    set_rates(admin, tenant, Rate("end_user", "requests", 1, 1))

    async def post(user: str) -> int:
        sent = {"workflow": "noop", "input": {}, "end_user": user}
        return (await api.post("/v1/jobs", sent)).status

    assert [await post(user) for user in ("ann", "ann", "bob", "bob")] == [202, 429, 202, 429]


async def test_each_item_of_a_bulk_counts_and_is_refused_by_itself(
    api: Client, admin: psycopg.Connection, tenant: TenantId
) -> None:
    set_rates(admin, tenant, Rate("tenant", "requests", 1, 3))
    bulk = await api.post("/v1/jobs/bulk", {"jobs": [{"workflow": "noop", "input": {}}] * 5})
    assert bulk.status == 207
    assert [one["status"] for one in bulk.json["data"]] == [202, 202, 202, 429, 429]
    assert bulk.json["data"][4]["problem"]["code"] == "rate_limited_requests"


@pytest.fixture
def settings(app_url: str, cache_url: str, tmp_path: Path) -> Settings:
    """With a model, so that jobs have tokens; nothing here calls it."""
    return Settings(
        database_url=app_url, cache_url=cache_url, state_dir=tmp_path,
        llm_base_url="http://127.0.0.1:9/v1",
    )  # fmt: skip


ANSWERING = {
    "name": "answering",
    "input": {"type": "object", "required": ["question"]},
    "steps": [
        {"id": "say", "kind": "model", "prompt": "draft@1", "max_tokens": 600, "in": {}},
    ],
    "output": "=steps.say",
}


@pytest.mark.usefixtures("ingesting")
async def test_tokens_are_charged_as_predicted_and_given_back_where_no_job_is_made(
    api: Client, admin: psycopg.Connection, tenant: TenantId
) -> None:
    """Each job is predicted at 400 tokens in and 600 out."""
    set_rates(admin, tenant, Rate("tenant", "tokens", 60, 2_500))
    pushed = await api.post(
        "/v1/workflows/answering/versions",
        {name: part for name, part in ANSWERING.items() if name != "name"},
    )
    assert pushed.status == 201, pushed.body
    sent = {"workflow": "answering", "input": {"question": "Why?"}}
    unfit = await api.post("/v1/jobs", {"workflow": "answering", "input": {}})
    first = await api.post("/v1/jobs", sent, idempotency_key="one")
    replayed = await api.post("/v1/jobs", sent, idempotency_key="one")
    second = await api.post("/v1/jobs", sent)
    third = await api.post("/v1/jobs", sent)
    assert first.status == 202, first.body
    assert [one.status for one in (unfit, first, replayed, second, third)] == [
        422, 202, 202, 202, 429,
    ]  # fmt: skip
    assert third.json["code"] == "rate_limited_tokens"
    assert third.json["limit"] == "tenant-tokens"
    assert first.headers["x-ratelimit-remaining-tokens"] == "1500"
    assert second.headers["x-ratelimit-remaining-tokens"] == "500"
    assert third.headers["RateLimit-Policy"] == '"tenant-tokens";q=2500;w=2500;qu="tokens"'


async def test_what_is_not_there_is_counted_too(
    api: Client, admin: psycopg.Connection, tenant: TenantId
) -> None:
    set_rates(admin, tenant, Rate("tenant", "requests", 1, 2))
    sent = {"workflow": "nowhere", "input": {}}
    assert [(await api.post("/v1/jobs", sent)).status for _ in range(3)] == [422, 422, 429]


async def test_a_plans_limit_holds_until_the_tenant_has_its_own(
    api: Client, admin: psycopg.Connection, tenant: TenantId
) -> None:
    one, five = Rate("tenant", "requests", 1, 1), Rate("tenant", "requests", 1, 5)
    admin.execute(
        "INSERT INTO plan (name, limits, created_at) VALUES ('small', %s, app_now())",
        (Jsonb({"rates": {one.name: asdict(one)}}),),
    )
    admin.execute("UPDATE tenant SET plan = 'small' WHERE id = %s", (tenant,))
    assert [(await api.get("/v1/me")).status for _ in range(2)] == [200, 429]
    set_rates(admin, tenant, five)
    # What a process knows of a tenant is at most a second old.
    read = await served_after(api, 1.01, lambda: api.get("/v1/me"))
    assert read.status == 200
    assert read.headers["RateLimit-Policy"].startswith('"tenant-requests";q=5;')


@pytest.fixture
def few(settings: Settings) -> Settings:
    """Settings under which three refused keys of one address are enough."""
    return settings.model_copy(
        update={
            "ratelimit": settings.ratelimit.model_copy(
                update={"failed_address_per_minute": 5, "failed_key_per_minute": 3}
            )
        }
    )


async def entries(admin: psycopg.Connection) -> list[Any]:
    rows = admin.execute(
        "SELECT body FROM audit_entry WHERE action = 'credential.refuse' ORDER BY id"
    )
    return [json.loads(body) for (body,) in rows.fetchall()]


async def test_repeated_refusals_slow_down_are_audited_in_sums_and_leave_good_keys_alone(
    few: Settings, secret: str, admin: psycopg.Connection, contract: Contract
) -> None:
    bad = [f"tp_{n}" + "x" * 42 for n in range(4)]
    async with serving(few) as url, Client(url, secret, contract) as good:
        assert (await good.get("/v1/me")).status == 200

        async def ask(key: str) -> Reply:
            async with Client(url, key, contract) as client:
                # The body is never read: who asks is refused first.
                return await client.post("/v1/jobs", b"{" * 100_000)

        same = [await ask(bad[0]) for _ in range(5)]
        others = [await ask(key) for key in bad[1:]]
        assert [one.status for one in same] == [401, 401, 401, 429, 429]
        assert [one.status for one in others] == [401, 401, 429]
        assert same[4].json["code"] == "rate_limited_requests"
        assert same[4].json["limit"] == "refused-key"
        assert others[2].json["limit"] == "refused-address"
        assert int(same[4].headers["Retry-After"]) in (19, 20)
        assert (await good.get("/v1/me")).status == 200
    (told,) = await entries(admin)
    assert told["after"] == {"failures": 5, "held_off": 3, "keys": sorted(k[:9] for k in bad)}
    assert told["address"] == "127.0.0.1"
    assert bad[0] not in json.dumps(told)


async def test_a_revoked_key_is_refused_as_one_that_never_was(
    few: Settings, db: Database, tenant: TenantId, contract: Contract, secret: str
) -> None:
    async with db.transaction() as session:
        issued = await keys.issue(session, tenant, "old", ["jobs:read"], actor=OPERATOR)
    async with serving(few) as url, Client(url, issued.secret, contract) as client:
        assert (await client.get("/v1/me")).status == 200
        async with db.transaction() as session:
            await keys.revoke(session, tenant, issued.id, actor=OPERATOR)
        replies = [await served_after(client, 1.01, lambda: client.get("/v1/me"))]
        replies += [await client.get("/v1/me") for _ in range(4)]
    assert [one.status for one in replies] == [401, 401, 401, 429, 429]


async def test_an_address_may_be_limited_before_anybody_is_known(
    settings: Settings, secret: str, contract: Contract
) -> None:
    update = {"ratelimit": settings.ratelimit.model_copy(update={"address_per_minute": 2})}
    async with (
        serving(settings.model_copy(update=update)) as url,
        Client(url, None, contract) as nobody,
        Client(url, secret, contract) as somebody,
    ):
        replies = [await nobody.get("/v1/me"), await somebody.get("/v1/me")]
        replies += [await nobody.get("/v1/me"), await somebody.get("/v1/me")]
        assert (await nobody.get("/healthz")).status == 200
    assert [one.status for one in replies] == [401, 200, 429, 429]


async def test_metrics_say_whether_the_limits_are_shared(api: Client, url: str) -> None:
    text = (await api.get("/metrics")).body.decode()
    assert "towpath_limits_lost 0.0" in text
    assert "towpath_limits_counted_alone_total 0.0" in text


async def test_a_full_queue_says_which_lane_and_when_to_come_back(
    api: Client, admin: psycopg.Connection, tenant: TenantId
) -> None:
    held = limits.with_ceiling({}, "batch", limits.Ceiling(jobs=2))
    admin.execute("UPDATE tenant SET limits = %s WHERE id = %s", (Jsonb(held), tenant))
    sent = {"workflow": "noop", "input": {}, "lane": "batch"}
    replies = [await api.post("/v1/jobs", sent) for _ in range(3)]
    assert [one.status for one in replies] == [202, 202, 429]
    assert replies[2].json["code"] == "queue_full"
    assert (replies[2].json["lane"], replies[2].json["ceiling"]) == ("batch", "jobs")
    assert int(replies[2].headers["Retry-After"]) == replies[2].json["retry_after"]
    assert (await api.job(lane="standard"))["status"] == "queued"


async def test_under_full_pressure_no_body_is_read(
    settings: Settings, secret: str, contract: Contract, admin: psycopg.Connection
) -> None:
    """What isn't even JSON is refused for the pressure; once that is gone, for what it is."""
    update = {"intake": settings.intake.model_copy(update={"max_queued": 1})}
    admin.execute(
        "INSERT INTO queue_level (tenant, lane, jobs, cost_nanousd, pace_nanousd, counted_at)"
        " VALUES (%s, 'batch', 1, 1, 0, app_now())",
        (PLATFORM,),
    )
    async with (
        serving(settings.model_copy(update=update)) as url,
        Client(url, secret, contract) as api,
    ):
        unread = await api.post("/v1/jobs", b"not JSON")
        bulk = await api.post("/v1/jobs/bulk", b"not JSON")
        read = await api.get("/v1/jobs")
        admin.execute("UPDATE queue_level SET jobs = 0")
        later = await served_after(api, 1.01, lambda: api.post("/v1/jobs", b"not JSON"))
    assert [one.status for one in (unread, bulk, read, later)] == [503, 503, 200, 400]
    assert {one.json["code"] for one in (unread, bulk)} == {"overloaded"}
    assert "Retry-After" in unread.headers


async def test_limits_are_shown_with_what_is_left(
    api: Client, admin: psycopg.Connection, tenant: TenantId
) -> None:
    rates = (
        Rate("tenant", "requests", 60, 10),
        Rate("tenant", "tokens", 60, 5_000),
        Rate("end_user", "requests", 60, 4, route="POST /v1/jobs"),
    )
    set_rates(admin, tenant, *rates)
    ceiling = limits.Ceiling(jobs=9, cost_nanousd=1_500_000_000)
    held = limits.with_ceiling({}, "batch", ceiling)["queue"]
    admin.execute(
        "UPDATE tenant SET limits = limits || %s, max_running = 7 WHERE id = %s",
        (Jsonb({"queue": held}), tenant),
    )
    admin.execute(
        "INSERT INTO queue_level (tenant, lane, jobs, cost_nanousd, oldest_at, pace_nanousd, counted_at)"
        " VALUES (%s, 'batch', 3, 2000, app_now() - interval '30 seconds', 0, app_now())",
        (tenant,),
    )
    await api.job(end_user="ann")
    shown = (await api.get("/v1/limits?end_user=ann")).json
    assert [(one["name"], one["remaining"]) for one in shown["rates"]] == [
        ("end_user-requests POST /v1/jobs", 3), ("tenant-requests", 8), ("tenant-tokens", 5_000),
    ]  # fmt: skip
    batch = next(one for one in shown["queues"] if one["lane"] == "batch")
    assert (batch["jobs"], batch["max_jobs"], batch["cost"], batch["max_cost"]) == (
        3, 9, "0.000002", "1.5",
    )  # fmt: skip
    assert 30 <= batch["oldest_seconds"] <= 60
    assert (shown["plan"], shown["running"], shown["max_running"]) == (None, 0, 7)
    nobodys = (await api.get("/v1/limits")).json["rates"][0]
    assert (nobodys["remaining"], nobodys["reset_seconds"]) == (None, None)


async def test_a_unique_key_is_answered_with_its_job_or_refused(api: Client) -> None:
    sent = {"workflow": "noop", "input": {}, "unique_key": "nightly"}
    strict = sent | {"unique_key": {"key": "nightly", "on_conflict": "reject"}}
    first = await api.post("/v1/jobs", sent)
    second = await api.post("/v1/jobs", sent)
    refused = await api.post("/v1/jobs", strict)
    bulk = await api.post("/v1/jobs/bulk", {"jobs": [sent, strict]})
    unfit = await api.post("/v1/jobs", sent | {"unique_key": {"key": "x", "window_seconds": 0}})
    assert [one.status for one in (first, second, refused, unfit)] == [202, 202, 409, 422]
    assert first.json["id"] == second.json["id"]
    assert "Towpath-Deduplicated" not in first.headers
    assert second.headers["Towpath-Deduplicated"] == "true"
    assert second.headers["Location"] == f"/v1/jobs/{first.json['id']}"
    assert refused.json["code"] == "duplicate_job"
    assert refused.json["job"] == first.json["id"]
    assert [(one["status"], one["deduplicated"]) for one in bulk.json["data"]] == [
        (202, True), (409, False),
    ]  # fmt: skip
