"""Tenants are made once a slug, changed by name, and every change is told in their own chain."""

import json
from typing import Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.core import ids
from app.core.db import Database
from app.core.errors import Invalid, NotFound
from app.core.ids import TenantId
from app.tenants import directory

ACTOR = trail.Actor("operator", "ada")


async def make(session: AsyncSession, slug: str) -> TenantId:
    return await directory.create(session, slug, slug.title(), actor=ACTOR)


async def test_a_tenant_is_found_by_id_and_slug(session: AsyncSession) -> None:
    tenant = await directory.create(session, "acme", "Acme", actor=ACTOR, weight=3, max_running=7)
    found = await directory.by_slug(session, "acme")
    assert found is not None
    assert directory.facts(found) == {
        "slug": "acme", "name": "Acme", "state": "active", "weight": 3, "max_running": 7,
        "requires_idempotency": False, "plan": None,
    }  # fmt: skip
    assert (await directory.find(session, tenant)).slug == "acme"
    assert await directory.by_slug(session, "nobody") is None
    with pytest.raises(NotFound):
        await directory.find(session, TenantId(ids.new()))


@pytest.mark.parametrize(
    "slug", ["", "Acme", "-a", "a-", "a--b", "a_b", "a b", "a" * 64, "é", "a\n"]
)
async def test_a_slug_is_lower_case_letters_digits_and_single_hyphens(
    session: AsyncSession, slug: str
) -> None:
    with pytest.raises(Invalid):
        await make(session, slug)


async def test_a_slug_is_taken_once(session: AsyncSession) -> None:
    await make(session, "a1-b2")
    with pytest.raises(Invalid) as refusal:
        await make(session, "a1-b2")
    assert refusal.value.context["errors"][0]["pointer"] == "/slug"


@pytest.mark.parametrize("caps", [{"weight": 0}, {"max_running": 0}])
async def test_caps_are_positive(session: AsyncSession, caps: dict[str, Any]) -> None:
    tenant = await make(session, "acme")
    with pytest.raises(Invalid):
        await directory.set_caps(session, tenant, actor=ACTOR, **caps)
    with pytest.raises(Invalid):
        await directory.create(session, "other", "Other", actor=ACTOR, **caps)


async def test_lists_show_every_tenant_once_newest_first(session: AsyncSession) -> None:
    made = [await make(session, f"t{n}") for n in range(5)]
    first = await directory.listed(session, None, 3)
    second = await directory.listed(session, first.next_cursor, 3)
    assert [one.id for one in first.items + second.items] == list(reversed(made))
    assert second.next_cursor is None
    with pytest.raises(Invalid):
        await directory.listed(session, "nonsense", 3)


async def test_every_change_is_told_and_what_changes_nothing_is_not(
    db: Database, admin: psycopg.Connection
) -> None:
    async with db.transaction() as session:
        tenant = await make(session, "acme")
        await directory.suspend(session, tenant, actor=ACTOR, reason="unpaid")
        await directory.suspend(session, tenant, actor=ACTOR, reason="again")
        await directory.resume(session, tenant, actor=ACTOR, reason="paid")
        await directory.set_caps(session, tenant, actor=ACTOR, weight=5, requires_idempotency=True)
        await directory.set_caps(session, tenant, actor=ACTOR, weight=5)
    rows = admin.execute("SELECT chain, body FROM audit_entry ORDER BY id").fetchall()
    assert {chain for chain, _ in rows} == {tenant}
    told = [
        (said["action"], said["before"], said["after"], said["reason"])
        for _, text in rows
        if (said := json.loads(text))
    ]
    assert told[0][0] == "tenant.create"
    assert told[1:] == [
        ("tenant.suspend", {"state": "active"}, {"state": "suspended"}, "unpaid"),
        ("tenant.resume", {"state": "suspended"}, {"state": "active"}, "paid"),
        (
            "tenant.set_caps",
            {"weight": 1, "requires_idempotency": False},
            {"weight": 5, "requires_idempotency": True},
            None,
        ),
    ]
    kept = admin.execute("SELECT state, weight, requires_idempotency FROM tenant").fetchone()
    assert kept == ("active", 5, True)


async def test_a_closed_tenant_stays_closed(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    admin.execute("UPDATE tenant SET state = 'closed'")
    async with db.sessions() as session:
        with pytest.raises(Invalid):
            await directory.resume(session, tenant, actor=ACTOR, reason="please")


async def test_a_change_waits_for_no_job_of_the_tenant(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    """Rows of a tenant hold a share of its key until they commit: a suspension must not wait for them."""
    async with db.transaction() as working, db.transaction() as session:
        await working.execute(
            text(
                "INSERT INTO collection (id, tenant, name, created_at) VALUES (:id, :tenant, 'c', app_now())"
            ),
            {"id": ids.new(), "tenant": tenant},
        )
        await session.execute(text("SET lock_timeout = '2s'"))
        await directory.suspend(session, tenant, actor=ACTOR, reason="unpaid")
