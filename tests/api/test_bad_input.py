"""Bad input: each a problem with the right status and a pointer, and nothing stored."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql

from app.api import problems
from app.api.bodies import NewJob
from app.core import ids
from app.core.db import Database
from app.core.ids import TenantId
from app.tenants import keys
from tests.api.client import Client, Reply
from tests.api.conftest import OPERATOR

JOB = {"workflow": "noop", "input": {"q": "x"}}
TOLD = "audit_entry"  # a refusal of rights is told of there
STORED = (
    "job", "job_event", "idempotency_record", TOLD, "outbox_event", "collection", "document",
    "file", "workflow_version", "webhook_endpoint", "secret", "api_key", "delivery",
)  # fmt: skip


def rows(admin: psycopg.Connection) -> dict[str, int]:
    count = sql.SQL("SELECT count(*) FROM {}")
    return {
        table: admin.execute(count.format(sql.Identifier(table))).fetchone()[0]  # type: ignore[index]
        for table in STORED
    }


def check(reply: Reply, status: int, code: str, pointer: str | None) -> None:
    """A problem, whole and of this kind; `pointer` is the first fault's."""
    assert reply.status == status, reply.body
    assert reply.headers["Content-Type"] == problems.MEDIA_TYPE
    problem = reply.json
    assert {"type", "title", "status", "detail", "code", "request_id"} <= problem.keys()
    assert (problem["status"], problem["code"]) == (status, code)
    assert problem["request_id"] == reply.headers["X-Request-Id"]
    assert "Traceback" not in reply.body.decode()
    if pointer is not None:
        assert problem["errors"][0]["pointer"] == pointer, problem


def nested(levels: int, opening: str = "[", closing: str = "]") -> bytes:
    inner = opening * levels + "1" + closing * levels
    return f'{{"workflow": "noop", "input": {{"q": {inner}}}}}'.encode()


def job(**fields: Any) -> bytes:
    return json.dumps(JOB | fields).encode()


@dataclass(frozen=True)
class Case:
    name: str
    body: bytes
    status: int
    code: str
    pointer: str | None


def raw(name: str, body: bytes, pointer: str) -> Case:
    return Case(name, body, 400, "invalid_json", pointer)


def unfit(name: str, body: bytes, pointer: str) -> Case:
    return Case(name, body, 422, "validation_failed", pointer)


CASES = [
    raw("nothing", b"", ""),
    raw("malformed", b'{"workflow": "noop", ', ""),
    raw("two values", b"{} {}", ""),
    raw("not UTF-8", b'{"workflow": "\xff"}', ""),
    raw("NUL byte", b'{"workflow": "noop", "input": {"q": "\x00"}}', ""),
    raw("C001 NUL in a value", b'{"workflow": "noop", "input": {"q": "a\\u0000b"}}', "/input/q"),
    raw("C001 NUL in a name", b'{"workflow": "noop", "input": {"a\\u0000b": 1}}', "/input"),
    raw("lone surrogate", b'{"workflow": "noop", "input": {"q": ["\\ud800"]}}', "/input/q/0"),
    raw("C003 NaN", b'{"workflow": "noop", "input": {"temperature": NaN}}', "/input/temperature"),
    raw("C003 Infinity", b'{"workflow": "noop", "input": {"top_p": Infinity}}', "/input/top_p"),
    raw("C003 -Infinity", b'{"workflow": "noop", "metadata": {"x": -Infinity}}', "/metadata/x"),
    raw("C003 1e999", b'{"workflow": "noop", "input": {"x": 1e999}}', "/input/x"),
    raw("C005 101 levels", nested(101), ""),
    raw("C005 1,000 levels", nested(1_000), ""),
    raw("C005 10,000 levels", nested(10_000), ""),
    raw("C005 100,000 levels", nested(100_000), ""),
    raw("C005 20,000 objects", nested(20_000, '{"a":', "}"), ""),
    raw(
        "C006 a name twice", b'{"workflow": "noop", "input": {"max": 10, "max": 100}}', "/input/max"
    ),
    raw(
        "C006 workflow twice",
        b'{"workflow": "noop", "workflow": "other", "input": {}}',
        "/workflow",
    ),
    unfit("not an object", b"[]", ""),
    unfit("no workflow", b'{"input": {}}', "/workflow"),
    unfit("no input", b'{"workflow": "noop"}', "/input"),
    unfit("input of another type", job(input=[]), "/input"),
    unfit("workflow of another type", job(workflow=7), "/workflow"),
    unfit("workflow's form", job(workflow="No such!"), "/workflow"),
    unfit("version's form", job(workflow="noop@0"), "/workflow"),
    unfit("unknown field", job(tenant="ten_x"), "/tenant"),
    unfit("lane", job(lane="express"), "/lane"),
    unfit("priority beyond", job(priority=10), "/priority"),
    unfit("priority as text", job(priority="5"), "/priority"),
    unfit("priority as a truth", job(priority=True), "/priority"),
    unfit("run_at as a number", job(run_at=1795572469), "/run_at"),
    unfit("run_at without a zone", job(run_at="2036-01-01T00:00:00"), "/run_at"),
    unfit("a moment beyond time", job(deadline_at="9999-12-31T23:59:59-01:00"), "/deadline_at"),
    unfit("a moment before time", job(run_at="0001-01-01T00:00:00+01:00"), "/run_at"),
    unfit(
        "ends before it begins",
        job(run_at="2036-01-02T00:00:00Z", deadline_at="2036-01-01T00:00:00Z"),
        "",
    ),
    unfit("money as a number", job(max_cost=0.05), "/max_cost"),
    unfit("money with an exponent", job(max_cost="5e-2"), "/max_cost"),
    unfit("C003 money that is NaN", job(max_cost="NaN"), "/max_cost"),
    unfit("money finer than a nano-dollar", job(max_cost="0.0000000001"), "/max_cost"),
    unfit("no money", job(max_cost="0"), "/max_cost"),
    unfit("no attempts", job(max_attempts=0), "/max_attempts"),
    unfit("metadata in depth", job(metadata={"a": {"b": 1}}), "/metadata/a"),
    unfit("too many pairs", job(metadata={f"k{n}": "v" for n in range(17)}), "/metadata"),
    unfit("a tag of another type", job(tags=["a", 1]), "/tags/1"),
    unfit("an unprintable tag", job(tags=["a\n"]), "/tags/0"),
    Case("unknown workflow", job(workflow="nowhere"), 422, "unknown_workflow", None),
    Case("unknown version", job(workflow="noop@99"), 422, "unknown_workflow", None),
    Case("2 MB", job(input={"q": "x" * 2_000_000}), 413, "payload_too_large", None),
]


async def test_a_bad_job_is_refused_at_its_place_and_nothing_is_stored(
    api: Client, admin: psycopg.Connection, subtests: pytest.Subtests
) -> None:
    before = rows(admin)
    for case in CASES:
        with subtests.test(case.name):
            reply = await api.post("/v1/jobs", case.body, Idempotency_Key="k-1")
            check(reply, case.status, case.code, case.pointer)
            assert rows(admin) == before
    # The name of the intent is free: the request can be corrected.
    assert (await api.post("/v1/jobs", JOB, Idempotency_Key="k-1")).status == 202
    # C003: what was refused troubles no later read.
    assert (await api.get("/v1/jobs")).status == 200


def bad_elsewhere() -> Iterator[tuple[str, str, Any, int, str, str | None]]:
    deep = b'{"steps": [], "output": 1, "input": ' + b'{"a":' * 1_000 + b"1" + b"}" * 1_001
    noop = {"name": "w", "steps": [], "output": 1, "input": {}}
    yield "POST", "/v1/collections", {"name": "Not this"}, 422, "validation_failed", "/name"
    yield "POST", "/v1/collections", b"{", 400, "invalid_json", ""
    yield "POST", "/v1/keys", {"name": "k", "scopes": ["root"]}, 422, "validation_failed", "/scopes"
    yield "POST", "/v1/keys", {"name": "k", "scopes": []}, 422, "validation_failed", "/scopes"
    yield "POST", "/v1/keys", {"name": "k", "scopes": ["admin"]}, 403, "forbidden", None
    yield "POST", "/v1/workflows/w/versions", noop, 422, "validation_failed", "/steps"
    yield "POST", "/v1/workflows/v/versions", noop, 422, "validation_failed", "/name"
    yield "POST", "/v1/workflows/w/versions", {"steps": 7}, 422, "validation_failed", "/input"
    yield "POST", "/v1/workflows/w/versions", deep, 400, "invalid_json", ""
    yield (
        "POST", "/v1/webhook_endpoints", {"url": "http://127.0.0.1:1/"}, 422, "validation_failed",
        "/url",
    )  # fmt: skip
    yield (
        "POST", "/v1/webhook_endpoints", {"url": "https://1.1.1.1/", "events": ["job.born"]}, 422,
        "validation_failed", "/events/0",
    )  # fmt: skip
    yield "POST", "/v1/jobs/bulk", {"jobs": []}, 422, "validation_failed", "/jobs"
    yield "POST", "/v1/jobs/bulk", {"jobs": [JOB] * 1_001}, 422, "validation_failed", "/jobs"
    yield "GET", "/v1/jobs?limit=0", None, 422, "validation_failed", "/limit"
    yield "GET", "/v1/jobs?limit=201", None, 422, "validation_failed", "/limit"
    yield "GET", "/v1/jobs?cursor=%21", None, 422, "validation_failed", "/cursor"
    yield "GET", "/v1/jobs?status=done", None, 422, "validation_failed", "/status"
    yield (
        "GET",
        "/v1/jobs?created_after=yesterday",
        None,
        422,
        "validation_failed",
        "/created_after",
    )
    yield (
        "GET",
        f"/v1/jobs/{ids.wire('job', ids.new())}?wait=31",
        None,
        422,
        "validation_failed",
        "/wait",
    )
    for path in ("/v1/collections/a%00b", "/v1/jobs?workflow=%00", "/v1/workflows/%00/versions"):
        yield "GET", path, None, 400, "bad_request", None
    yield (
        "GET",
        "/v1/usage?since=9999-12-31T23:59:59-01:00",
        None,
        422,
        "validation_failed",
        "/since",
    )
    yield "GET", "/v1/collections/%ff%fe", None, 404, "not_found", None
    yield "GET", "/v1/nothing", None, 404, "not_found", None
    yield "PUT", "/v1/jobs", None, 405, "method_not_allowed", None


async def test_other_routes_refuse_alike(
    api: Client, admin: psycopg.Connection, subtests: pytest.Subtests
) -> None:
    for method, path, body, status, code, pointer in bad_elsewhere():
        before = rows(admin)
        with subtests.test(f"{method} {path}", body=str(body)[:60]):
            check(await api.send(method, path, body), status, code, pointer)
            told = {TOLD: before[TOLD] + (code == "forbidden")}
            assert rows(admin) == before | told


async def test_an_idempotency_key_that_is_none_is_refused_at_the_header(api: Client) -> None:
    for key in ("", '"open', "x" * 256, "a b", '"a b"', "é"):
        reply = await api.post("/v1/jobs", JOB, Idempotency_Key=key)
        check(reply, 422, "validation_failed", "/idempotency-key")
        assert reply.json["errors"][0]["in"] == "header"


async def test_who_has_no_good_key_learns_nothing(
    url: str, secret: str, api: Client, db: Database, tenant: TenantId, admin: psycopg.Connection
) -> None:
    async with db.transaction() as session:
        expired = await keys.issue(session, tenant, "old", ["jobs:write"], actor=OPERATOR)
        revoked = await keys.issue(session, tenant, "gone", ["jobs:write"], actor=OPERATOR)
        await keys.revoke(session, tenant, revoked.id, actor=OPERATOR)
    admin.execute(
        "UPDATE api_key SET expires_at = now() - interval '1 s' WHERE id = %s", (expired.id,)
    )
    before, answers = rows(admin), []
    for bad in (
        None,
        "",
        "tp_short",
        "sk-" + secret[3:],
        secret[:-1] + "_",
        expired.secret,
        revoked.secret,
    ):
        async with Client(url, bad) as client:
            # The body is not even read: malformed, it would be another code.
            reply = await client.post("/v1/jobs", b"{")
        check(reply, 401, "unauthenticated", None)
        assert reply.headers["WWW-Authenticate"].startswith("Bearer")
        answers.append(reply.json)
    assert rows(admin) | {TOLD: before[TOLD]} == before
    words = {answer["detail"] for answer in answers[2:]}
    assert len(words) == 1  # unknown, malformed, expired and revoked can't be told apart


async def test_a_key_without_the_scope_is_forbidden(
    url: str, secret: str, db: Database, tenant: TenantId, admin: psycopg.Connection
) -> None:
    async with db.transaction() as session:
        reader = await keys.issue(session, tenant, "reader", ["jobs:read"], actor=OPERATOR)
    before = rows(admin)
    async with Client(url, reader.secret) as client:
        check(await client.post("/v1/jobs", JOB), 403, "forbidden", None)
        check(await client.get("/v1/usage/records"), 403, "forbidden", None)
        assert (await client.get("/v1/jobs")).status == 200
        assert (await client.get("/v1/me")).status == 200
    assert rows(admin) | {TOLD: before[TOLD]} == before


async def test_a_suspended_tenant_is_told_so(api: Client, admin: psycopg.Connection) -> None:
    admin.execute("UPDATE tenant SET state = 'suspended'")
    check(await api.get("/v1/jobs"), 403, "tenant_suspended", None)


async def test_a_tenant_may_require_keys(api: Client, admin: psycopg.Connection) -> None:
    admin.execute("UPDATE tenant SET requires_idempotency = true")
    check(await api.post("/v1/jobs", JOB), 400, "idempotency_key_missing", None)
    check(await api.post("/v1/collections", {"name": "c"}), 400, "idempotency_key_missing", None)
    assert (await api.post("/v1/jobs", JOB, Idempotency_Key="k")).status == 202


async def test_no_odd_value_is_a_fault_of_ours(api: Client) -> None:
    """Whatever stands in a field or a query, it is taken or refused; and what was taken can be read."""
    odd = [
        None, True, -1, 2**64, 10**300, 1e308, "", "\u202e", "-1", "9999-12-31T23:59:59-12:00",
        "2036-02-30T00:00:00Z", [], {}, [None], {"": ""}, {"k": 10**300},
    ]  # fmt: skip
    fields = (*NewJob.model_fields, "tenant")
    replies = [
        await api.post("/v1/jobs", JOB | {field: value}) for field in fields for value in odd
    ]
    texts = ("", "0", "1e9", "é", "%ED%A0%80", "%FF", "0001-01-01T00:00:00Z", "9999-12-31", "%0A")
    queries = {
        "/v1/jobs": ("limit", "cursor", "workflow", "tag", "created_after"),
        "/v1/usage": ("group_by", "since", "until", "time_zone", "model"),
        "/v1/usage/records": ("cursor", "since", "job"),
        "/v1/keys": ("cursor",),
        "/v1/webhook_endpoints": ("cursor",),
    }
    replies += [
        await api.get(f"{path}?{name}={text}")
        for path, names in queries.items()
        for name in names
        for text in texts
    ]
    assert [reply.body for reply in replies if reply.status >= 500] == []
    assert {reply.status for reply in replies} >= {200, 202, 422}
    assert (await api.get("/v1/jobs?limit=200")).status == 200
