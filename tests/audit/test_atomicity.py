"""C126: an action and its entry exist together or not at all, wherever the database is lost in between."""

import json
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.bootstrap import tenancy
from app.budgets import accounts
from app.core.db import Database
from app.core.errors import Unavailable
from app.core.ids import KeyId, TenantId
from app.switches import levers
from app.tenants import directory, keys
from app.usage import pricing
from app.workflows import versions
from tests.arrange import NOOP

ACTOR = trail.Actor("operator", "ada")
KEY = KeyId(UUID(int=5))
STATE = ("tenant", "api_key", "switch", "budget_account", "price", "workflow", "workflow_version")
Act = Callable[[AsyncSession, TenantId], Awaitable[Any]]

ACTIONS: dict[str, tuple[str, Act]] = {
    "tenant.create": ("", lambda s, t: tenancy.create(s, "new", "New", limit_nanousd=5, actor=ACTOR)),
    "tenant.suspend": ("", lambda s, t: directory.suspend(s, t, actor=ACTOR, reason="why")),
    "tenant.resume": ("UPDATE tenant SET state = 'suspended'", lambda s, t: directory.resume(s, t, actor=ACTOR, reason="why")),
    "tenant.set_caps": ("", lambda s, t: directory.set_caps(s, t, actor=ACTOR, max_running=3, reason="why")),
    "key.issue": ("", lambda s, t: keys.issue(s, t, "ci", ["jobs:read"], actor=ACTOR)),
    "key.revoke": ("INSERT INTO api_key (id, tenant, name, prefix, digest, scopes, created_at) SELECT '00000000-0000-0000-0000-000000000005', id, '', '', '', '{}', now() FROM tenant", lambda s, t: keys.revoke(s, t, KEY, actor=ACTOR)),
    "switch.turn_off": ("", lambda s, t: levers.turn_off(s, "admission", actor=ACTOR, reason="why")),
    "switch.turn_on": ("INSERT INTO switch VALUES ('admission', true, '', '', now())", lambda s, t: levers.turn_on(s, "admission", actor=ACTOR, reason="why")),
    "budget.set": ("", lambda s, t: accounts.set_limit(s, t, 7, actor=ACTOR, reason="why")),
    "budget.overrun": ("UPDATE budget_account SET overrun_at = now()", lambda s, t: accounts.clear_overrun(s, t, actor=ACTOR, reason="why")),
    "price": ("", lambda s, t: pricing.enter(s, "p", "m", input_picousd=1, output_picousd=2, actor=ACTOR)),
    "workflow.push": ("", lambda s, t: versions.push(s, t, NOOP, actor=ACTOR)),
}  # fmt: skip


class Killer:
    """Ends the session's backend before its nth statement, or before its commit."""

    def __init__(self, db: Database, admin: psycopg.Connection) -> None:
        self.at = 0
        self.seen = 0
        self._admin = admin
        self._engine = db.engine.sync_engine
        event.listen(self._engine, "before_cursor_execute", self._statement)
        event.listen(self._engine, "commit", self._step)

    def _statement(self, *_: Any) -> None:
        self._step()

    def _step(self, *_: Any) -> None:
        self.seen += 1
        if self.seen == self.at:
            self._admin.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND usename = 'towpath_app'"
            )


@pytest.fixture
def killer(db: Database, admin: psycopg.Connection) -> Killer:
    return Killer(db, admin)


def state(admin: psycopg.Connection) -> list[Any]:
    texts = (
        f"SELECT coalesce(string_agg({table}::text, ' ' ORDER BY {table}::text), '') FROM {table}"
        for table in STATE
    )
    return [admin.execute(text.encode()).fetchone() for text in texts]


def told(admin: psycopg.Connection) -> list[tuple[bool, str]]:
    query = (
        "SELECT audit_pending.entry IS NOT NULL, body FROM audit_entry"
        " LEFT JOIN audit_pending ON entry = id ORDER BY id"
    )
    return admin.execute(query).fetchall()


@pytest.mark.parametrize(("arrange", "act"), ACTIONS.values(), ids=ACTIONS)
async def test_c126_an_action_and_its_entry_are_one(
    db: Database,
    admin: psycopg.Connection,
    tenant: TenantId,
    killer: Killer,
    arrange: str,
    act: Act,
) -> None:
    if arrange:
        admin.execute(arrange.encode())
    before = state(admin)
    while True:
        killer.at, killer.seen = killer.at + 1, 0
        try:
            async with db.transaction() as session:
                await act(session, tenant)
        except Unavailable:
            assert (state(admin), told(admin)) == (before, [])
            continue
        break
    assert (
        killer.at == killer.seen + 1 >= 4
    )  # it was lost before every statement and before the commit
    assert state(admin) != before
    entries = told(admin)
    assert all(pending for pending, _ in entries)
    said = [json.loads(body) for _, body in entries]
    mine = [body for body in said if body["actor"] == {"kind": "operator", "id": "ada"}]
    assert mine
    assert all(body["before"] or body["after"] for body in mine)
