"""A lever is on until someone moves it, and who moved it is known."""

import json

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.core.db import Database
from app.core.errors import Invalid
from app.switches import levers, models

ACTOR = trail.Actor("operator", "ada")


async def test_a_lever_that_was_never_moved_is_on(session: AsyncSession) -> None:
    assert await levers.off(session) == frozenset()
    assert await levers.listed(session) == []


async def test_off_lists_what_is_off(session: AsyncSession) -> None:
    await levers.turn_off(session, "webhooks", actor=ACTOR, reason="flood")
    await levers.turn_off(session, "admission", actor=ACTOR, reason="upgrade")
    await levers.turn_on(session, "webhooks", actor=ACTOR, reason="over")
    assert await levers.off(session) == {"admission"}
    moved = [(one.name, one.off, one.reason, one.set_by) for one in await levers.listed(session)]
    assert moved == [("admission", True, "upgrade", "ada"), ("webhooks", False, "over", "ada")]


async def test_an_unknown_lever_is_refused(session: AsyncSession) -> None:
    with pytest.raises(Invalid):
        await levers.turn_off(session, "everything", actor=ACTOR, reason="panic")


def test_the_database_knows_the_same_levers(admin: psycopg.Connection) -> None:
    insert = f"INSERT INTO {models.Switch.__tablename__} VALUES (%s, true, '', '', now())"
    for name in levers.NAMES:
        admin.execute(insert, (name,))
    with pytest.raises(psycopg.errors.CheckViolation):
        admin.execute(insert, ("everything",))


async def test_each_move_is_told_in_the_platforms_trail(
    db: Database, admin: psycopg.Connection
) -> None:
    async with db.transaction() as session:
        await levers.turn_off(session, "model_calls", actor=ACTOR, reason="provider down")
        await levers.turn_on(session, "model_calls", actor=ACTOR, reason="provider back")
    rows = admin.execute("SELECT chain, body FROM audit_entry ORDER BY id").fetchall()
    assert {chain for chain, _ in rows} == {trail.PLATFORM}
    told = [json.loads(text) for _, text in rows]
    assert [
        (
            said["action"],
            said["object"],
            said["before"]["off"],
            said["after"]["off"],
            said["reason"],
        )
        for said in told
    ] == [
        ("switch.turn_off", "model_calls", False, True, "provider down"),
        ("switch.turn_on", "model_calls", True, False, "provider back"),
    ]
