"""The outermost layer: limits, ids, faults, an absent database."""

import asyncio
import contextlib
import gzip
import importlib
import json
import pkgutil
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import psycopg
import pytest

import app
from app.api import problems
from app.core.errors import TowpathError
from app.views import jobs as views
from tests.api.client import Client
from tests.api.test_bad_input import check
from tests.waiting import until

LIMIT = 1024 * 1024


def body_of(size: int) -> bytes:
    head, tail = b'{"workflow": "noop", "input": {"q": "', b'"}}'
    return head + b"x" * (size - len(head) - len(tail)) + tail


async def test_the_limit_itself_is_admitted_and_one_byte_more_is_not(api: Client) -> None:
    """C012."""
    admitted = await api.post("/v1/jobs", body_of(LIMIT))
    assert admitted.status == 202
    shown = await api.get(admitted.headers["Location"])
    assert len(shown.json["input"]["q"]) == LIMIT - len(body_of(100)) + body_of(100).count(b"x")
    check(await api.post("/v1/jobs", body_of(LIMIT + 1)), 413, "payload_too_large", None)


async def raw(url: str, request: bytes, chunks: int = 0) -> tuple[bytes, int]:
    """The answer to bytes sent by hand, and how many chunks of 64 KiB were taken before it."""
    host, port = urlsplit(url).hostname, urlsplit(url).port
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(request)
    sent, answer = 0, asyncio.create_task(reader.readuntil(b"}"))
    with contextlib.suppress(ConnectionError):  # the server hangs up, in the end
        while sent < chunks:
            writer.write(b"10000\r\n" + b"x" * 65_536 + b"\r\n")
            await writer.drain()
            sent += 1
    try:
        async with asyncio.timeout(20):
            return await answer, sent
    finally:
        writer.close()


async def test_a_body_without_a_length_is_counted_as_it_comes(url: str, secret: str) -> None:
    """C012: 200 MB in chunks are not taken in."""
    head = (
        f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n"
        "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    answer, sent = await raw(url, head.encode(), chunks=3_200)
    # The answer is there after the limit; then 32 MiB are thrown away, and what lies in buffers.
    assert sent < 1_000
    assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_length_beyond_the_limit_is_refused_before_the_body(url: str, secret: str) -> None:
    head = (
        f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n"
        "Content-Type: application/json\r\nContent-Length: 200000000\r\n\r\n"
    )
    answer, _ = await raw(url, head.encode())
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer.lower()
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "payload_too_large"


async def test_no_compressed_body_is_inflated(api: Client) -> None:
    """C012."""
    packed = gzip.compress(b"\0" * 10_000_000)
    reply = await api.send("POST", "/v1/jobs", packed, headers={"Content-Encoding": "gzip"})
    check(reply, 415, "unsupported_media_type", None)


async def test_json_is_said_to_be_json(api: Client) -> None:
    body = {"workflow": "noop", "input": {}}
    for kind in ("application/json; charset=utf-8", "application/vnd.towpath+json"):
        reply = await api.send("POST", "/v1/jobs", body, headers={"Content-Type": kind})
        assert reply.status == 202
    for kind in ("text/plain", "application/x-www-form-urlencoded"):
        reply = await api.send("POST", "/v1/jobs", body, headers={"Content-Type": kind})
        check(reply, 415, "unsupported_media_type", None)


async def test_every_answer_has_an_id_of_its_own(api: Client) -> None:
    replies = [await api.get(path) for path in ("/healthz", "/healthz", "/v1/jobs", "/v1/none")]
    named = [reply.headers["X-Request-Id"] for reply in replies]
    assert len(set(named)) == 4
    assert {reply.headers["X-Content-Type-Options"] for reply in replies} == {"nosniff"}


async def test_a_methods_refusal_names_what_is_allowed(api: Client) -> None:
    reply = await api.delete("/v1/jobs")
    check(reply, 405, "method_not_allowed", None)
    assert reply.headers["Allow"] == "GET, POST"


async def test_a_fault_of_ours_is_a_problem_without_its_trace(
    api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr(views, "listed", broken)
    reply = await api.get("/v1/jobs")
    check(reply, 500, "internal_error", None)
    assert b"secret words" not in reply.body


async def test_without_a_database_nothing_is_promised(
    api: Client, postgres: str, database: str
) -> None:
    server = psycopg.connect(postgres, autocommit=True)
    assert (await api.get("/readyz")).json["status"] == "ready"
    server.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false")
    server.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (database,)
    )
    refused = await api.post("/v1/jobs", {"workflow": "noop", "input": {}}, Idempotency_Key="k")
    check(refused, 503, "unavailable", None)
    assert int(refused.headers["Retry-After"]) >= 1
    check(await api.get("/v1/jobs"), 503, "unavailable", None)
    check(await api.get("/readyz"), 503, "unavailable", None)
    assert (await api.get("/healthz")).json == {"status": "ok"}
    server.execute(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true")
    server.close()
    again = await api.post("/v1/jobs", {"workflow": "noop", "input": {}}, Idempotency_Key="k")
    assert (again.status, "Idempotent-Replayed" in again.headers) == (202, False)


async def test_metrics_count_by_template_and_never_by_id(api: Client) -> None:
    job = (await api.job())["id"]
    await api.get(f"/v1/jobs/{job}")
    await api.get("/v1/anything/else")
    text = (await api.get("/metrics")).body.decode()
    assert (
        'towpath_http_requests_total{method="GET",route="/v1/jobs/{id}",status="200"} 1.0' in text
    )
    assert 'route="unmatched",status="404"' in text
    assert 'towpath_jobs_admitted_total{outcome="created"} 1.0' in text
    assert job not in text


async def test_a_client_that_hangs_up_leaves_a_whole_job_or_none(
    api: Client, url: str, secret: str, admin: psycopg.Connection
) -> None:
    """C013: 300 clients close their sockets at every moment of an admission."""
    body = b'{"workflow": "noop", "input": {}}'
    host, port = urlsplit(url).hostname, urlsplit(url).port

    async def hang_up(n: int) -> None:
        head = (
            f"POST /v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {secret}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            f"Idempotency-Key: gone-{n}\r\n\r\n"
        ).encode()
        whole = head + body
        _, writer = await asyncio.open_connection(host, port)
        # A third breaks off within its request, the others at once after it: with a reset, not an end.
        writer.write(whole if n % 3 else whole[: len(whole) * (n % 100) // 100])
        await writer.drain()
        linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    await asyncio.gather(*[hang_up(n) for n in range(300)])
    normal = await api.post("/v1/jobs", {"workflow": "noop", "input": {}}, Idempotency_Key="normal")
    assert normal.status == 202
    await until(quiet(admin))
    halves = admin.execute(
        "SELECT count(*) FROM job j WHERE"
        " (SELECT count(*) FROM job_event e WHERE e.job = j.id) <> 1"
        " OR (SELECT count(*) FROM idempotency_record r WHERE r.object = j.id) <> 1"
    ).fetchone()
    assert halves == (0,)
    jobs_, records, entries = admin.execute(
        "SELECT (SELECT count(*) FROM job), (SELECT count(*) FROM idempotency_record),"
        " (SELECT count(*) FROM audit_entry WHERE action = 'job.admit')"
    ).fetchone() or (0, 0, 0)
    assert jobs_ == records == entries
    # The key tells which it was: each intent, sent again, has exactly one job.
    replies = await asyncio.gather(
        *[api.post("/v1/jobs", body, Idempotency_Key=f"gone-{n}") for n in range(300)]
    )
    assert {reply.status for reply in replies} == {202}
    assert admin.execute("SELECT count(*) FROM job").fetchone() == (301,)


def quiet(admin: psycopg.Connection) -> Callable[[], Awaitable[bool]]:
    """No connection works, and none was left inside a transaction."""

    async def idle() -> bool:
        states = admin.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid() AND state <> 'idle'"
        ).fetchone()
        return states == (0,)

    return idle


def test_every_code_has_a_status() -> None:
    for module in pkgutil.walk_packages(app.__path__, "app."):
        if module.name.endswith(".errors"):
            importlib.import_module(module.name)

    def codes(kind: type[TowpathError]) -> set[str]:
        return {kind.code}.union(*[codes(one) for one in kind.__subclasses__()])

    assert codes(TowpathError) - problems.STATUS.keys() == set()
