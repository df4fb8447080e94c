"""An entry says who did what to what, in one exact text, without its secrets."""

import json
import math
import unicodedata
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from app.audit import trail
from app.core import ids
from app.core.db import Database
from app.core.ids import TenantId
from tests.audit.ledger import ACTOR, append

TENANT = TenantId(UUID(int=7))


def body(**facts: Any) -> Any:
    entry = trail.entry(TENANT, actor=ACTOR, action="workflow.push", object="thing_1", **facts)
    return json.loads(entry.body)


def test_the_body_holds_all_that_there_is_to_know() -> None:
    actor = trail.Actor("key", "key_1", request_id="req_1", address="192.0.2.7")
    entry = trail.entry(
        TENANT,
        actor=actor,
        action="key.revoke",
        object="key_2",
        before={"name": "ci"},
        reason="leaked",
    )
    said = json.loads(entry.body)
    assert said == {
        "id": ids.wire("aud", entry.id),
        "chain": ids.wire("ten", TENANT),
        "at": entry.at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "actor": {"kind": "key", "id": "key_1"},
        "action": "key.revoke",
        "object": "key_2",
        "before": {"name": "ci"},
        "after": None,
        "reason": "leaked",
        "request_id": "req_1",
        "address": "192.0.2.7",
    }
    assert list(said) == sorted(said)
    assert (entry.chain, entry.action, len(entry.salt)) == (TENANT, "key.revoke", 16)


def test_the_platform_has_a_chain_of_its_own() -> None:
    entry = trail.entry(trail.PLATFORM, actor=ACTOR, action="switch.turn_off", object="admission")
    assert json.loads(entry.body)["chain"] == "platform"
    assert entry.chain == UUID(int=0)


@pytest.mark.parametrize(
    "after", [{"b": 1, "a": {"d": None, "c": True}}, {"a": {"c": True, "d": None}, "b": 1}]
)
def test_one_value_has_one_text_whatever_its_order(after: object) -> None:
    entry = trail.entry(TENANT, actor=ACTOR, action="key.issue", object="o", after=after)
    assert '"after":{"a":{"c":true,"d":null},"b":1},' in entry.body


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (1.10, "1.1"),
        (Decimal("1.10"), "1.10"),
        (math.nan, "nan"),
        (2**70, 2**70),
        (True, True),
        (datetime(2026, 11, 2, 3, 4, 5, 678901, UTC), "2026-11-02T03:04:05.678901Z"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ((1, "a"), [1, "a"]),
    ],
)
def test_no_number_but_whole_ones_is_kept(value: object, kept: object) -> None:
    assert body(after={"value": value})["after"] == {"value": kept}


def test_a_secret_is_never_kept() -> None:
    canary = "tp_" + "Canary7" * 6
    said = trail.entry(
        TENANT,
        actor=ACTOR,
        action="workflow.push",
        object="thing_1",
        before={"password": "canary-in-a-name", "url": "https://ada:canary-in-a-url@host/x"},
        after={"nested": [{"note": f"use {canary}"}], "secret": "whsec_canaryCanaryCanary1234"},
        reason=f"Authorization: Bearer {canary}",
        request_id=canary,
    ).body
    assert "anary" not in said
    assert said.count("[redacted]") == 6


@example("\ud800 \0 é")
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text(st.characters(exclude_categories=())),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_every_value_becomes_a_text_that_utf_8_holds_and_json_reads(value: Any) -> None:
    entry = trail.entry(TENANT, actor=ACTOR, action="key.issue", object="o", after=value)
    entry.body.encode()
    assert "\0" not in entry.body
    json.loads(entry.body)


async def test_c123_what_is_stored_is_the_text_that_was_made(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    odd = {
        "b": 1, "a": 2, "price": 1.10, "composed": "é", "decomposed": unicodedata.normalize("NFD", "é"),
        "emoji": "🦆", "null": None, "nul": "a\0b", "lone": "\ud800", "ns": 123456789, "%": "%s :x",
        "html": "</script>\\u0041\"'", "big": 10**40,
    }  # fmt: skip
    entry = trail.entry(
        tenant, actor=ACTOR, action="workflow.push", object="t", before=odd, after=[odd, {}]
    )
    await append(db, entry)
    columns = "SELECT chain, at, action, body, salt FROM audit_entry WHERE id = %s"
    stored = admin.execute(columns, (entry.id,)).fetchone()
    assert stored == (entry.chain, entry.at, entry.action, entry.body, entry.salt)
    pending = admin.execute("SELECT entry FROM audit_pending").fetchall()
    assert pending == [(entry.id,)]


async def test_an_entry_goes_with_the_change_that_it_tells_of(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    async with db.sessions() as session:
        await trail.append(
            session, trail.entry(tenant, actor=ACTOR, action="key.issue", object="o")
        )
        await session.rollback()
    counted = admin.execute("SELECT count(*) FROM audit_entry").fetchone()
    assert counted == (0,)
