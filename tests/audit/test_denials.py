"""C126: refused actions are in the trail, one entry an actor, action and minute, from however many processes."""

import asyncio
import json
from datetime import datetime
from typing import Any

import psycopg
import pytest

from app.audit import denials, trail, verification
from app.audit.denials import Denials
from app.core import clock, ids
from app.core.db import Database, open_database
from app.core.errors import Unavailable
from app.core.ids import TenantId
from tests.audit.ledger import seal_all

KEY = trail.Actor("key", "key_1", "req_1", "192.0.2.7")
MINUTE = "2026-11-25T06:04:00.000000Z"


@pytest.fixture(autouse=True)
def minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test's minute lasts as long as the test."""
    monkeypatch.setattr(clock, "now", lambda: datetime.fromisoformat(MINUTE))


def told(admin: psycopg.Connection) -> list[Any]:
    rows = admin.execute("SELECT body FROM audit_entry ORDER BY id").fetchall()
    return [json.loads(body) for (body,) in rows]


async def refuse(
    db: Database, met: Denials, tenant: TenantId, action: str = "DELETE /v1/keys/{id}"
) -> bool:
    return await denials.note(
        db, met, tenant, actor=KEY, action=action, target="/v1/keys/key_2",
        facts={"code": "forbidden", "scope": "keys:write"},
    )  # fmt: skip


async def test_c126_a_refusal_is_told_with_who_tried_what_on_what(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    assert await refuse(db, Denials(), tenant)

    [said] = told(admin)
    assert said["actor"] == {"kind": "key", "id": "key_1"}
    assert (said["action"], said["object"]) == ("request.refuse", "/v1/keys/key_2")
    assert said["after"] == {
        "tried": "DELETE /v1/keys/{id}", "code": "forbidden", "scope": "keys:write",
    }  # fmt: skip
    assert (said["address"], said["request_id"]) == ("192.0.2.7", "req_1")
    await seal_all(db)
    [report] = await verification.verify(db)
    assert (report.chain, report.sealed, report.broken) == (tenant, 1, None)


async def test_c126_many_processes_that_refuse_at_once_tell_of_it_once(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    processes = [Denials() for _ in range(8)]
    first = await asyncio.gather(*[refuse(db, met, tenant) for met in processes * 4])

    assert sum(first) == 1
    assert len(told(admin)) == 1


async def test_c126_each_action_and_each_minute_is_told_of(
    db: Database, admin: psycopg.Connection, tenant: TenantId, monkeypatch: pytest.MonkeyPatch
) -> None:
    met = Denials()
    assert await refuse(db, met, tenant)
    assert await refuse(db, met, tenant, "GET /v1/keys")
    assert not await refuse(db, met, tenant)
    monkeypatch.setattr(clock, "now", lambda: datetime.fromisoformat("2026-11-25T06:05:00Z"))
    assert await refuse(db, met, tenant)
    assert len(told(admin)) == 3


async def test_an_id_says_what_it_tells_of_and_sorts_by_its_minute() -> None:
    early, late = (datetime.fromisoformat(f"2026-11-25T06:0{n}:00Z") for n in (4, 5))
    seed, other = b"\xff" * 32, b"\0" * 32
    assert ids.derived(early, seed) == ids.derived(early, seed) != ids.derived(early, other)
    assert ids.derived(early, seed) < ids.derived(late, other)
    assert ids.derived(early, seed).version == 7


async def test_a_database_that_was_away_has_noted_nothing(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    met = Denials()
    away = open_database(db.url.rsplit("/", 1)[0] + "/no_such_database")
    with pytest.raises(Unavailable):
        await refuse(away, met, tenant)
    await away.close()
    assert await refuse(db, met, tenant)
