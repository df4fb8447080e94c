"""Events of a job, as a list and as a stream that loses nothing."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import psycopg
import pytest

from app.api import events
from app.core import ids
from tests.api.client import Client
from tests.api.test_jobs import fail, watched
from tests.waiting import until


@dataclass(frozen=True)
class Told:
    id: str | None
    name: str | None
    data: str | None
    comment: str | None = None


async def told(response: aiohttp.ClientResponse) -> AsyncIterator[Told]:
    """Server-Sent Events as a browser would read them."""
    fields: dict[str, str] = {}
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line:
            name, _, value = line.partition(":")
            fields[name or "comment"] = value.removeprefix(" ")
        elif fields:
            yield Told(*(fields.get(name) for name in ("id", "event", "data", "comment")))
            fields = {}


async def stream(api: Client, job: str, **headers: str) -> list[Told]:
    async with aiohttp.ClientSession() as session:
        sent = {"Authorization": f"Bearer {api.secret}", **headers}
        async with session.get(f"{api.url}/v1/jobs/{job}/events", headers=sent) as response:
            assert response.status == 200
            assert response.content_type == "text/event-stream"
            return [event async for event in told(response)]


async def test_a_stream_tells_all_and_ends_with_the_job(api: Client) -> None:
    job = (await api.job())["id"]
    streams = [asyncio.create_task(stream(api, job)) for _ in range(3)]
    await until(watched(api, 3))
    await api.post(f"/v1/jobs/{job}/cancel")
    for seen in await asyncio.gather(*streams):
        assert [(event.id, event.name) for event in seen] == [
            ("1", "job.queued"), ("2", "job.cancelled"),
        ]  # fmt: skip
    await until(watched(api, 0))


async def test_a_resumed_stream_begins_after_the_last_event(api: Client) -> None:
    job = (await api.job())["id"]
    await api.post(f"/v1/jobs/{job}/cancel")
    assert [event.id for event in await stream(api, job, **{"Last-Event-ID": "1"})] == ["2"]
    assert await stream(api, job, **{"Last-Event-ID": "2"}) == []
    assert len(await stream(api, job)) == 2
    bad = await api.get(f"/v1/jobs/{job}/events", Last_Event_ID="two")
    assert (bad.status, bad.json["errors"][0]["pointer"]) == (422, "/last-event-id")


async def test_an_old_end_does_not_end_the_stream_of_a_retried_job(
    api: Client, admin: psycopg.Connection
) -> None:
    job = (await api.job())["id"]
    fail(admin, job)
    admin.execute(
        "WITH moved AS (UPDATE job SET event_seq = 2 RETURNING id, tenant)"
        " INSERT INTO job_event (job, seq, tenant, at, name, data)"
        " SELECT id, 2, tenant, app_now(), 'job.failed', '{}' FROM moved"
    )
    await api.post(f"/v1/jobs/{job}/retry")
    seen = asyncio.create_task(stream(api, job))
    await until(watched(api, 1))
    await api.post(f"/v1/jobs/{job}/cancel")
    assert [event.name for event in await seen] == [
        "job.queued", "job.failed", "job.queued", "job.cancelled",
    ]  # fmt: skip


async def test_more_events_than_a_page_come_in_order(
    api: Client, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PAGE", 3)
    job = (await api.job())["id"]
    admin.execute(
        "INSERT INTO job_event (job, seq, tenant, at, name, data)"
        " SELECT id, n, tenant, app_now(), 'step.succeeded', '{\"step\": \"a\\nb\"}'"
        " FROM job, generate_series(2, 8) n"
    )
    admin.execute("UPDATE job SET event_seq = 8")
    await api.post(f"/v1/jobs/{job}/cancel")
    assert [event.id for event in await stream(api, job)] == [str(n) for n in range(1, 10)]
    page = (await api.get(f"/v1/jobs/{job}/events", Accept="application/json")).json
    assert ([event["seq"] for event in page["data"]], page["next_cursor"]) == ([1, 2, 3], "3")
    last = await api.get(f"/v1/jobs/{job}/events?after=8", Accept="application/json")
    assert [event["type"] for event in last.json["data"]] == ["job.cancelled"]
    assert last.json["next_cursor"] is None


async def test_silence_is_filled_with_comments(
    api: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.05)
    job = (await api.job())["id"]
    seen: list[Told] = []
    async with aiohttp.ClientSession() as session:
        sent = {"Authorization": f"Bearer {api.secret}"}
        async with session.get(f"{api.url}/v1/jobs/{job}/events", headers=sent) as response:
            async for event in told(response):
                seen.append(event)
                if len(seen) == 3:
                    break
    assert [event.comment for event in seen[1:]] == ["heartbeat"] * 2
    # The client has gone: nobody watches for it any more.
    await until(watched(api, 0))


async def test_the_watch_survives_the_loss_of_its_connection(
    api: Client, admin: psycopg.Connection
) -> None:
    job = (await api.job())["id"]
    waiting = asyncio.create_task(api.get(f"/v1/jobs/{job}?wait=30"))
    await until(watched(api, 1))
    ended = admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND query LIKE 'LISTEN%'"
    ).fetchall()
    assert ended
    # Told by nobody: the row changes without a notification, and is looked at all the same.
    admin.execute(
        "UPDATE job SET state = 'cancelled', finished_at = app_now() WHERE id = %s",
        (ids.parse("job", job),),
    )
    assert (await waiting).json["status"] == "cancelled"
