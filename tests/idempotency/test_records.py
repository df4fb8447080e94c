"""A name stands for one body and one object, for a day."""

from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import ids
from app.core.db import Database
from app.core.errors import Invalid
from app.core.ids import TenantId
from app.idempotency import records
from app.idempotency.errors import IdempotencyKeyReused
from tests.arrange import make_tenant, move_clock

ROUTE = "POST /v1/webhook_endpoints"
BODY = {"url": "https://a.example", "events": ["job.failed"]}


async def claim(
    session: AsyncSession, tenant: TenantId, *, key: str = "k", body: Any = BODY, route: str = ROUTE
) -> tuple[records.Claim, UUID]:
    fresh = ids.new()
    return await records.claim(session, tenant, route, key, records.fingerprint(body), fresh), fresh


@pytest.mark.parametrize(
    ("header", "key"),
    [
        ("8e03978e-40d5-43dd-bc93-6894a57f9324", "8e03978e-40d5-43dd-bc93-6894a57f9324"),
        ('"8e03978e"', "8e03978e"),
        (" order-7\t", "order-7"),
        (r'"a\"b\\c"', r'a"b\c'),
        ('a"b', 'a"b'),
        ("~" * 255, "~" * 255),
        ('"' + "~" * 255 + '"', "~" * 255),
    ],
)
def test_a_key_is_the_same_quoted_or_bare(header: str, key: str) -> None:
    assert records.parse_key(header) == key


@pytest.mark.parametrize(
    "header",
    ["", " ", '""', '"', '"a', '"a"b"', r'"a\b"', '"a b"', "a b", "é", "a\x00b", "a\x7f", "a" * 256,
     '"k";a=1', '"a\n"'],
)  # fmt: skip
def test_what_is_no_key(header: str) -> None:
    with pytest.raises(Invalid):
        records.parse_key(header)


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=255))
def test_a_structured_field_string_gives_its_key_back(key: str) -> None:
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    assert records.parse_key(f'"{escaped}"') == key


async def test_c008_another_body_another_tenant_or_another_route(
    session: AsyncSession, admin: psycopg.Connection, tenant: TenantId
) -> None:
    other = make_tenant(admin, "other")
    first, made = await claim(session, tenant)
    assert first == records.Claim(made, replayed=False)

    reordered = {"events": ["job.failed"], "url": "https://a.example"}
    replay, _ = await claim(session, tenant, body=reordered)
    assert replay == records.Claim(made, replayed=True)
    for body in ({**BODY, "url": "https://b.example"}, {**BODY, "more": None}, {}):
        with pytest.raises(IdempotencyKeyReused):
            await claim(session, tenant, body=body)
    for elsewhere in (
        await claim(session, other),
        await claim(session, tenant, route="POST /v1/keys"),
        await claim(session, tenant, key="K"),
    ):
        assert elsewhere[0] == records.Claim(elsewhere[1], replayed=False)
    assert (await claim(session, tenant))[0].object == made


def test_c008_bodies_differ_by_value_not_by_writing() -> None:
    same = records.fingerprint({"b": 1, "a": [1, {"d": 2, "c": None}]})
    assert same == records.fingerprint({"a": [1, {"c": None, "d": 2}], "b": 1})
    others: list[Any] = [
        {"a": [{"d": 2, "c": None}, 1], "b": 1}, {"b": "1", "a": [1, {"d": 2, "c": None}]},
        {"b": True, "a": [1, {"d": 2, "c": None}]}, {"b": 1, "a": [1, {"d": 2}]},
        {"b": 1, "a": [1, {"d": 2, "c": None}], "z": None}, None, [],
    ]  # fmt: skip
    prints = {records.fingerprint(body) for body in others} | {same}
    assert len(prints) == len(others) + 1


async def test_a_name_is_free_again_after_a_day(session: AsyncSession, tenant: TenantId) -> None:
    _, made = await claim(session, tenant)
    await move_clock(session, "23 hours 59 minutes")
    assert (await claim(session, tenant))[0] == records.Claim(made, replayed=True)
    await move_clock(session, "24 hours")
    again, fresh = await claim(session, tenant, body={"another": "body"})
    assert again == records.Claim(fresh, replayed=False)
    await move_clock(session, "47 hours")  # and that one is kept for a day of its own
    assert (await claim(session, tenant, body={"another": "body"}))[0].object == fresh


async def test_what_is_rolled_back_leaves_no_name_behind(db: Database, tenant: TenantId) -> None:
    async with db.sessions() as session:
        await claim(session, tenant)
        await session.rollback()
    async with db.transaction() as session:
        second, fresh = await claim(session, tenant, body={"another": "body"})
    assert second == records.Claim(fresh, replayed=False)


async def test_pruning_takes_what_is_over_and_no_more(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    async with db.transaction() as session:
        for number in range(5):
            await claim(session, tenant, key=f"k{number}")
    admin.execute("UPDATE idempotency_record SET expires_at = now() WHERE key < 'k3'")
    assert [await records.prune(db, limit=2) for _ in range(3)] == [2, 1, 0]
    kept = admin.execute("SELECT key FROM idempotency_record ORDER BY key").fetchall()
    assert kept == [("k3",), ("k4",)]
