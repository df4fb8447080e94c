"""An event's body is made from its row, the same bytes each time, and stays small."""

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import ids
from app.core.ids import TenantId
from app.outbox import events

JOB = UUID("01890000-0000-7000-8000-000000000001")
AT = datetime(2026, 11, 25, 1, 2, 3, 456, tzinfo=UTC)


def test_a_body_is_thin_and_in_the_standard_form() -> None:
    facts = '{"status": "succeeded", "metadata": {"order": "7"}}'
    body = json.loads(events.body("job.succeeded", JOB, AT, facts))
    assert body == {
        "type": "job.succeeded",
        "timestamp": "2026-11-25T01:02:03.000456Z",
        "data": {
            "id": ids.wire("job", JOB),
            "object": "job",
            "status": "succeeded",
            "metadata": {"order": "7"},
        },
    }


def test_an_event_of_no_facts_is_json_too() -> None:
    body = json.loads(events.body("webhook_endpoint.test", JOB, AT, "{}"))
    assert body["data"] == {"id": ids.wire("whe", JOB), "object": "webhook_endpoint"}


@pytest.mark.parametrize("name", [*events.EVENTS, events.ENDPOINT_TEST])
def test_every_event_has_a_wire_form(name: str) -> None:
    assert json.loads(events.body(name, JOB, AT, "{}"))["type"] == name


async def test_numbers_and_letters_come_through_the_database_unchanged(
    session: AsyncSession, tenant: TenantId
) -> None:
    facts = '{"metadata": {"b": 1.0, "a": 1e2, "big": 12345678901234567890.10, "é": "\\u2028 😀"}}'
    event = await events.record(session, tenant, "job.failed", JOB, {})
    await session.execute(
        text("UPDATE outbox_event SET payload = CAST(:facts AS jsonb) WHERE id = :event"),
        {"facts": facts, "event": event},
    )
    stored = text("SELECT at, CAST(payload AS text) AS facts FROM outbox_event WHERE id = :event")
    row = (await session.execute(stored, {"event": event})).one()
    body = events.body("job.failed", JOB, row.at, row.facts)
    assert b'"b": 1.0' in body
    assert b"12345678901234567890.10" in body
    assert "é".encode() in body
    assert json.loads(body)["data"]["metadata"]["é"] == "\u2028 😀"
    assert body == events.body("job.failed", JOB, row.at, row.facts)


def test_what_would_make_a_body_too_large_is_left_out() -> None:
    facts = json.dumps({"status": "failed", "metadata": {"k": "é" * 15_000}}, ensure_ascii=False)
    body = events.body("job.failed", JOB, AT, facts)
    assert len(body) < events.BODY_BYTES
    assert json.loads(body)["data"] == {
        "id": ids.wire("job", JOB),
        "object": "job",
        "status": "failed",
    }


async def test_a_recorded_event_waits_for_the_relay_unless_its_caller_delivers(
    session: AsyncSession, tenant: TenantId
) -> None:
    waiting = await events.record(session, tenant, "job.failed", JOB, {"status": "failed"})
    told = await events.record(session, tenant, "job.failed", JOB, {}, relayed=True)
    query = text("SELECT id, relayed_at IS NULL AS waits, payload FROM outbox_event")
    rows = {row.id: row for row in (await session.execute(query)).all()}
    assert rows[waiting].waits
    assert rows[waiting].payload == {"status": "failed"}
    assert not rows[told].waits
