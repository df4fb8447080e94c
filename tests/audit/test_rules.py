"""Entries and links can be added and read, by every role; nothing else is let through."""

import psycopg
import pytest
from psycopg import errors

from app.core.db import Database
from app.core.ids import TenantId
from tests.audit.ledger import append, entries, seal_all

CHANGES = (
    "UPDATE audit_entry SET body = body || ' '",
    "DELETE FROM audit_entry",
    "TRUNCATE audit_entry CASCADE",
    "UPDATE audit_link SET hash = digest",
    "DELETE FROM audit_link",
    "TRUNCATE audit_link",
)


@pytest.mark.parametrize("role", ["app", "owner", "superuser"])
async def test_the_database_refuses(
    db: Database,
    admin: psycopg.Connection,
    tenant: TenantId,
    app_url: str,
    owner_url: str,
    superuser_url: str,
    role: str,
) -> None:
    await append(db, *entries(tenant, 3))
    await seal_all(db)
    url = {"app": app_url, "owner": owner_url, "superuser": superuser_url}[role]
    with psycopg.connect(url, autocommit=True) as connection:
        for change in CHANGES:
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(change)
    counts = admin.execute(
        "SELECT (SELECT count(*) FROM audit_entry), (SELECT count(*) FROM audit_link)"
    ).fetchone()
    assert counts == (3, 3)


def test_the_running_role_can_not_take_the_rules_away(app_url: str) -> None:
    with psycopg.connect(app_url, autocommit=True) as connection:
        for attempt in (
            "ALTER TABLE audit_entry DISABLE TRIGGER ALL",
            "DROP TRIGGER audit_entry_append_only ON audit_entry",
            "SET session_replication_role = replica",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(attempt)
