"""The schema: migrations and models agree, every foreign key has its index, and what must not change can't."""

import itertools

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import JSON, create_engine
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from app.core.ids import TenantId
from migrations import run as migrations
from migrations.tables import METADATA
from tests.arrange import make_jobs, make_workflow

FOREIGN_KEYS_WITHOUT_INDEX = """
SELECT c.conrelid::regclass::text AS table, c.conname AS name
  FROM pg_constraint c
 WHERE c.contype = 'f'
   AND NOT EXISTS (
       SELECT FROM pg_index i
        WHERE i.indrelid = c.conrelid
          AND (i.indkey::int2[])[0] = ANY (c.conkey)
          AND ((i.indkey::int2[])[0] <> (SELECT attnum FROM pg_attribute
                                          WHERE attrelid = c.conrelid AND attname = 'tenant')
               OR c.conkey = ARRAY[(i.indkey::int2[])[0]]
               OR (i.indkey::int2[])[1] = ANY (c.conkey)))
 ORDER BY 1, 2"""


def test_models_and_migrations_agree(owner_url: str) -> None:
    engine = create_engine(
        make_url(owner_url).set(drivername="postgresql+psycopg"), poolclass=NullPool
    )
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, METADATA) == []
    engine.dispose()


def test_migrations_go_down_and_up_again(owner_url: str, admin: psycopg.Connection) -> None:
    migrations.down(owner_url)
    left = admin.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    ).fetchall()
    assert left == [("alembic_version",)]
    migrations.up(owner_url)
    assert admin.execute("SELECT app_now() = now()").fetchone() == (True,)


def test_every_foreign_key_has_an_index(admin: psycopg.Connection) -> None:
    """Tenants are never deleted: a key to the tenant alone needs none."""
    missing = admin.execute(FOREIGN_KEYS_WITHOUT_INDEX).fetchall()
    assert [row for row in missing if not row[1].endswith("_tenant_fkey")] == []


def test_nothing_in_a_json_column_is_the_null_of_sql(admin: psycopg.Connection) -> None:
    """`IS NULL` must find it: JSON's null beside it would be a second nothing."""
    nullable = admin.execute(
        "SELECT attrelid::regclass::text, attname FROM pg_attribute"
        " JOIN pg_class ON pg_class.oid = attrelid"
        " WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
        " AND atttypid = 'jsonb'::regtype AND NOT attnotnull"
    ).fetchall()
    refusing = admin.execute(
        "SELECT conrelid::regclass::text, attname FROM pg_constraint"
        " JOIN pg_attribute ON attrelid = conrelid AND attnum = conkey[1]"
        " WHERE contype = 'c' AND cardinality(conkey) = 1"
        " AND pg_get_constraintdef(pg_constraint.oid)"
        " = format('CHECK ((jsonb_typeof(%I) <> ''null''::text))', attname)"
    ).fetchall()
    assert ("job", "error") in nullable
    assert sorted(nullable) == sorted(refusing)
    for table in METADATA.sorted_tables:
        for column in table.columns:
            if isinstance(column.type, JSON):
                assert column.type.none_as_null, f"{column}: None would be written as JSON's null"


APPEND_ONLY = (
    "audit_entry",
    "audit_link",
    "usage_line",
    "ledger_entry",
    "price",
    "workflow_version",
)
VERBS = ("UPDATE {} SET {}", "DELETE FROM {}", "TRUNCATE {} CASCADE")


def test_what_is_written_once_can_not_be_changed(
    owner_url: str, app_url: str, admin: psycopg.Connection
) -> None:
    for url in (owner_url, app_url):
        with psycopg.connect(url, autocommit=True) as connection:
            for table, verb in itertools.product(APPEND_ONLY, VERBS):
                row = admin.execute(
                    "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum = 1",
                    (table,),
                ).fetchone()
                assert row is not None
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(verb.format(table, f"{row[0]} = {row[0]}"))


def test_the_running_role_changes_no_schema(app_url: str) -> None:
    with psycopg.connect(app_url, autocommit=True) as connection:
        for statement in ("CREATE TABLE t (n int)", "DROP TABLE job", "ALTER TABLE job ADD n int"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
        role = connection.execute(
            "SELECT rolsuper, rolbypassrls, rolcreatedb, rolcreaterole FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    assert role == (False, False, False, False)


@pytest.mark.parametrize(
    "change",
    [
        "state = 'succeeded'",
        "finished_at = app_now()",
        "state = 'waiting'",
        "waiting_for = 'backoff'",
        "state = 'running'",
        "current_attempt = id",
        "state = 'scheduled'",
        "lane = 'express'",
        "priority = 10",
        "max_cost_nanousd = 0",
        "state = 'done'",
    ],
)
def test_the_database_refuses_a_job_that_contradicts_itself(
    change: str, admin: psycopg.Connection, tenant: TenantId
) -> None:
    make_jobs(admin, tenant, make_workflow(admin, tenant))
    with pytest.raises(psycopg.errors.CheckViolation):
        admin.execute(f"UPDATE job SET {change}")
