"""C126: a request that was refused for want of rights is in the trail of whose key it was."""

import asyncio
import json
from collections import Counter
from typing import Any

import psycopg
import pytest

from app.core.db import Database
from app.core.ids import TenantId
from app.tenants import keys
from tests.api.client import Client
from tests.api.conftest import OPERATOR


async def issued(db: Database, tenant: TenantId, *scopes: str) -> keys.Issued:
    async with db.transaction() as session:
        return await keys.issue(session, tenant, "limited", scopes, actor=OPERATOR)


def refused(admin: psycopg.Connection) -> list[Any]:
    rows = admin.execute(
        "SELECT body FROM audit_entry WHERE action = 'request.refuse' ORDER BY at"
    ).fetchall()
    return [json.loads(body) for (body,) in rows]


def minutes(told: list[Any]) -> int:
    return len({body["at"][:16] for body in told})


async def test_c126_a_key_without_the_scope_is_told_of_once_however_often_it_tries(
    url: str, secret: str, db: Database, tenant: TenantId, admin: psycopg.Connection
) -> None:
    key = await issued(db, tenant, "jobs:read")
    job = "job_01kb1c2v3e4m5n6p7q8r9s0t1v"
    async with Client(url, key.secret) as client:
        replies = await asyncio.gather(*[client.post(f"/v1/jobs/{job}/cancel") for _ in range(20)])
        assert {reply.status for reply in replies} == {403}
        assert (await client.get("/v1/usage")).status == 403

    told = refused(admin)
    tried = Counter(body["after"]["tried"] for body in told)
    assert tried.keys() == {"POST /v1/jobs/{id}/cancel", "GET /v1/usage"}
    assert tried["POST /v1/jobs/{id}/cancel"] <= minutes(told)
    assert {body["actor"]["id"] for body in told} == {keys.wire(key.id)}
    assert told[0]["object"] == f"/v1/jobs/{job}/cancel"
    assert told[0]["after"]["scope"] == "jobs:write"
    assert told[0]["request_id"] in {reply.json["request_id"] for reply in replies}


async def test_c126_a_key_that_would_give_more_than_it_has_is_told_of(
    url: str, secret: str, db: Database, tenant: TenantId, admin: psycopg.Connection
) -> None:
    key = await issued(db, tenant, "keys:write")
    async with Client(url, key.secret) as client:
        body = {"name": "more", "scopes": ["jobs:write"]}
        assert (await client.post("/v1/keys", body)).status == 403
    [told] = refused(admin)
    assert (told["after"]["tried"], told["after"]["scope"]) == ("POST /v1/keys", "jobs:write")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ("UPDATE api_key SET revoked_at = app_now()", 401),
        ("UPDATE api_key SET expires_at = app_now() - interval '1 second'", 401),
        ("UPDATE tenant SET state = 'suspended'", 403),
    ],
)
async def test_c126_a_key_that_is_good_no_more_is_told_of_by_its_id(
    url: str,
    secret: str,
    db: Database,
    tenant: TenantId,
    admin: psycopg.Connection,
    change: str,
    status: int,
) -> None:
    key = await issued(db, tenant, "jobs:read")
    admin.execute(change.encode())
    async with Client(url, key.secret) as client:
        reply = await client.get("/v1/jobs")
    assert reply.status == status
    assert keys.wire(key.id) not in reply.body.decode()  # who asks learns nothing of it
    [told] = refused(admin)
    assert (told["actor"]["id"], told["after"]["tried"]) == (keys.wire(key.id), "GET /v1/jobs")
