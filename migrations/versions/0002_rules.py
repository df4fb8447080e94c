"""What tables alone can't say: the clock, what may never change, and who may do what."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = (
    "audit_entry",
    "audit_link",
    "usage_line",
    "ledger_entry",
    "price",
    "workflow_version",
)

CLOCK = """
CREATE FUNCTION app_now() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT now() + coalesce(nullif(current_setting('towpath.clock_offset', true), ''), '0')::interval $$
"""
REFUSE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege'; END $$
"""


def upgrade() -> None:
    """The clock, the append-only tables, the first shard, and the running role's rights."""
    op.execute(CLOCK)
    op.execute(REFUSE)
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    op.execute(
        "INSERT INTO dispatch_shard"
        " (id, shards, epoch, grants, shares, wants, wants_at, levels, levels_at, learnt_until)"
        " VALUES (0, 1, 0, '{}', '{}', '{}', 'epoch', '{}', now(), now())"
    )
    op.execute("GRANT USAGE ON SCHEMA public TO towpath_app")
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO towpath_app")
    for table in (*APPEND_ONLY, "alembic_version"):
        op.execute(f"REVOKE UPDATE, DELETE ON {table} FROM towpath_app")
    op.execute("REVOKE INSERT ON alembic_version FROM towpath_app")


def downgrade() -> None:
    """Take it back; the role itself stays, since other databases may use it."""
    op.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM towpath_app")
    op.execute("REVOKE USAGE ON SCHEMA public FROM towpath_app")
    op.execute("DELETE FROM dispatch_shard")
    for table in APPEND_ONLY:
        op.execute(f"DROP TRIGGER {table}_append_only ON {table}")
    op.execute("DROP FUNCTION refuse_change()")
    op.execute("DROP FUNCTION app_now()")
