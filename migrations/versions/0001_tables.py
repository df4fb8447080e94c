"""The tables of every room."""

import sqlalchemy as sa
from alembic import op
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """The tables of every room."""
    op.create_table(
        "audit_entry",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("chain", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("salt", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("audit_entry_pkey")),
    )
    op.create_index("audit_entry_listed", "audit_entry", ["chain", "id"], unique=False)
    op.create_table(
        "cap",
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("max_running", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('all', 'workflow', 'key', 'resource')", name=op.f("cap_kind_known")
        ),
        sa.CheckConstraint("max_running >= 0", name=op.f("cap_not_negative")),
        sa.PrimaryKeyConstraint("owner", "kind", "name", name=op.f("cap_pkey")),
    )
    op.create_table(
        "dispatch_shard",
        sa.Column("id", sa.BigInteger(), nullable=False),
        sa.Column("shards", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column(
            "grants", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column(
            "shares", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column(
            "wants", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("wants_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "levels", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("levels_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("learnt_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("dispatch_shard_pkey")),
    )
    op.create_table(
        "pause",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("owner", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('lane', 'tenant', 'worker', 'workflow')", name=op.f("pause_kind_known")
        ),
        sa.CheckConstraint("mode IN ('drain', 'pause')", name=op.f("pause_mode_known")),
        sa.PrimaryKeyConstraint("kind", "owner", "name", "mode", name=op.f("pause_pkey")),
    )
    op.create_table(
        "plan",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "limits",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("plan_pkey")),
    )
    op.create_table(
        "price",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("input_picousd", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_picousd", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_picousd", sa.BigInteger(), nullable=False),
        sa.Column("output_picousd", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "input_picousd >= 0 AND cached_input_picousd >= 0 AND cache_write_picousd >= 0 AND output_picousd >= 0",
            name=op.f("price_not_negative"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("price_pkey")),
        sa.UniqueConstraint(
            "provider", "model", "from_at", name=op.f("price_provider_model_from_at_key")
        ),
    )
    op.create_table(
        "pulse",
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("part", name=op.f("pulse_pkey")),
    )
    op.create_table(
        "purge_later",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("job", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "job", name=op.f("purge_later_pkey")),
    )
    op.create_table(
        "purge_mark",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("after", sa.Uuid(), nullable=False),
        sa.Column("purged", sa.BigInteger(), nullable=False),
        sa.Column("behind_seconds", sa.Double(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("kind", name=op.f("purge_mark_pkey")),
    )
    op.create_table(
        "queue_level",
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("jobs", sa.BigInteger(), nullable=False),
        sa.Column("cost_nanousd", sa.BigInteger(), nullable=False),
        sa.Column("oldest_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pace_nanousd", sa.BigInteger(), nullable=False),
        sa.Column("counted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("tenant", "lane", name=op.f("queue_level_pkey")),
        prefixes=["UNLOGGED"],
    )
    op.create_table(
        "switch",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("off", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("set_by", sa.Text(), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "name IN ('admission', 'model_calls', 'webhooks')", name=op.f("switch_name_known")
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("switch_pkey")),
    )
    op.create_table(
        "unique_key",
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("job", sa.Uuid(), nullable=True),
        sa.Column("held_until", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("tenant", "name", name=op.f("unique_key_pkey")),
    )
    op.create_table(
        "worker",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("lanes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("slots", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("heard_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("stopping_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("slots > 0", name=op.f("worker_slots_positive")),
        sa.PrimaryKeyConstraint("id", name=op.f("worker_pkey")),
    )
    op.create_index("worker_heard", "worker", ["seen_at"], unique=False)
    op.create_table(
        "audit_link",
        sa.Column("chain", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("entry", sa.Uuid(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("sealed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["entry"], ["audit_entry.id"], name=op.f("audit_link_entry_fkey")),
        sa.PrimaryKeyConstraint("chain", "seq", name=op.f("audit_link_pkey")),
        sa.UniqueConstraint("entry", name=op.f("audit_link_entry_key")),
    )
    op.create_table(
        "audit_pending",
        sa.Column("entry", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["entry"], ["audit_entry.id"], name=op.f("audit_pending_entry_fkey")
        ),
        sa.PrimaryKeyConstraint("entry", name=op.f("audit_pending_pkey")),
    )
    op.create_table(
        "tenant",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("slug", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="active", nullable=False),
        sa.Column("weight", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("max_running", sa.BigInteger(), server_default="100", nullable=False),
        sa.Column("requires_idempotency", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("plan", sa.Text(), nullable=True),
        sa.Column(
            "limits",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "state IN ('active', 'suspended', 'closed')", name=op.f("tenant_state_known")
        ),
        sa.CheckConstraint("weight > 0 AND max_running > 0", name=op.f("tenant_positive")),
        sa.ForeignKeyConstraint(["plan"], ["plan.name"], name=op.f("tenant_plan_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("tenant_pkey")),
        sa.UniqueConstraint("slug", name=op.f("tenant_slug_key")),
    )
    op.create_index(op.f("tenant_plan"), "tenant", ["plan"], unique=False)
    op.create_table(
        "api_key",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant"], ["tenant.id"], name=op.f("api_key_tenant_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("api_key_pkey")),
        sa.UniqueConstraint("digest", name=op.f("api_key_digest_key")),
        sa.UniqueConstraint("tenant", "id", name=op.f("api_key_tenant_id_key")),
    )
    op.create_table(
        "collection",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenant.id"], name=op.f("collection_tenant_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("collection_pkey")),
        sa.UniqueConstraint("tenant", "id", name=op.f("collection_tenant_id_key")),
        sa.UniqueConstraint("tenant", "name", name=op.f("collection_tenant_name_key")),
    )
    op.create_table(
        "file",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("dropped_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("size_bytes >= 0", name=op.f("file_size_not_negative")),
        sa.ForeignKeyConstraint(["tenant"], ["tenant.id"], name=op.f("file_tenant_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("file_pkey")),
        sa.UniqueConstraint("tenant", "id", name=op.f("file_tenant_id_key")),
    )
    op.create_index("file_bytes", "file", ["tenant", "sha256"], unique=False)
    op.create_index(
        "file_dropped",
        "file",
        ["dropped_at"],
        unique=False,
        postgresql_where="dropped_at IS NOT NULL",
    )
    op.create_table(
        "idempotency_record",
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary(), nullable=False),
        sa.Column("object", sa.Uuid(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant"], ["tenant.id"], name=op.f("idempotency_record_tenant_fkey")
        ),
        sa.PrimaryKeyConstraint("tenant", "route", "key", name=op.f("idempotency_record_pkey")),
    )
    op.create_index(
        "idempotency_record_expiring", "idempotency_record", ["expires_at"], unique=False
    )
    op.create_table(
        "outbox_event",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("subject", sa.Uuid(), nullable=False),
        sa.Column(
            "payload", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("relayed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["tenant"], ["tenant.id"], name=op.f("outbox_event_tenant_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("outbox_event_pkey")),
        sa.UniqueConstraint("tenant", "id", name=op.f("outbox_event_tenant_id_key")),
    )
    op.create_index(
        "outbox_event_waiting",
        "outbox_event",
        ["id"],
        unique=False,
        postgresql_where="relayed_at IS NULL",
    )
    op.create_table(
        "released",
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("minute", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cost_nanousd", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenant.id"], name=op.f("released_tenant_fkey")),
        sa.PrimaryKeyConstraint("tenant", "lane", "minute", name=op.f("released_pkey")),
    )
    op.create_table(
        "secret",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("ciphertext", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenant.id"], name=op.f("secret_tenant_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("secret_pkey")),
        sa.UniqueConstraint("tenant", "id", name=op.f("secret_tenant_id_key")),
    )
    op.create_table(
        "served",
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("had_nanousd", sa.Double(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenant.id"], name=op.f("served_tenant_fkey")),
        sa.PrimaryKeyConstraint("lane", "tenant", name=op.f("served_pkey")),
    )
    op.create_table(
        "tool_grant",
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column(
            "arguments", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("granted_by", sa.Text(), nullable=False),
        sa.Column("granted_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "jsonb_typeof(arguments) <> 'null'", name=op.f("tool_grant_arguments_is_no_json_null")
        ),
        sa.ForeignKeyConstraint(["tenant"], ["tenant.id"], name=op.f("tool_grant_tenant_fkey")),
        sa.PrimaryKeyConstraint("tenant", "tool", name=op.f("tool_grant_pkey")),
    )
    op.create_table(
        "usage_rollup",
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("bucket_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("key", sa.Uuid(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_nanousd", sa.BigInteger(), nullable=False),
        sa.Column("unconfirmed_nanousd", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenant.id"], name=op.f("usage_rollup_tenant_fkey")),
        sa.PrimaryKeyConstraint(
            "tenant",
            "bucket_at",
            "workflow",
            "provider",
            "model",
            "lane",
            "key",
            name=op.f("usage_rollup_pkey"),
        ),
    )
    op.create_table(
        "workflow",
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("released", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenant.id"], name=op.f("workflow_tenant_fkey")),
        sa.PrimaryKeyConstraint("tenant", "name", name=op.f("workflow_pkey")),
    )
    op.create_table(
        "workflow_cost",
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("ratio", sa.Double(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["tenant"], ["tenant.id"], name=op.f("workflow_cost_tenant_fkey")),
        sa.PrimaryKeyConstraint("tenant", "workflow", name=op.f("workflow_cost_pkey")),
    )
    op.create_table(
        "schedule",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Uuid(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("cron", sa.Text(), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("missed_runs", sa.Text(), nullable=False),
        sa.Column("overlap", sa.Text(), nullable=False),
        sa.Column("jitter_seconds", sa.BigInteger(), nullable=False),
        sa.Column(
            "job", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("fire_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "missed_runs IN ('skip', 'run_once', 'run_all')", name=op.f("schedule_missed_known")
        ),
        sa.CheckConstraint(
            "overlap IN ('skip', 'queue', 'cancel_running')", name=op.f("schedule_overlap_known")
        ),
        sa.CheckConstraint(
            "(paused_at IS NULL) = (due_at IS NOT NULL) AND (due_at IS NULL) = (fire_at IS NULL)",
            name=op.f("schedule_active_is_due"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "key"],
            ["api_key.tenant", "api_key.id"],
            name=op.f("schedule_tenant_key_fkey"),
        ),
        sa.ForeignKeyConstraint(["tenant"], ["tenant.id"], name=op.f("schedule_tenant_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("schedule_pkey")),
        sa.UniqueConstraint("tenant", "id", name=op.f("schedule_tenant_id_key")),
        sa.UniqueConstraint("tenant", "name", name=op.f("schedule_tenant_name_key")),
    )
    op.create_index(
        "schedule_due",
        "schedule",
        ["fire_at"],
        unique=False,
        postgresql_where="fire_at IS NOT NULL",
    )
    op.create_index("schedule_of_key", "schedule", ["key"], unique=False)
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("events", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("secret", sa.Uuid(), nullable=True),
        sa.Column("old_secret", sa.Uuid(), nullable=True),
        sa.Column("old_secret_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("state", sa.Text(), server_default="enabled", nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(secret IS NULL) = (state = 'deleted')",
            name=op.f("webhook_endpoint_signed_until_deleted"),
        ),
        sa.CheckConstraint(
            "state IN ('enabled', 'disabled', 'deleted')", name=op.f("webhook_endpoint_state_known")
        ),
        sa.CheckConstraint(
            "(old_secret IS NOT NULL) = (old_secret_until IS NOT NULL)",
            name=op.f("webhook_endpoint_rotation_ends"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "old_secret"],
            ["secret.tenant", "secret.id"],
            name="webhook_endpoint_old_secret_fkey",
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "secret"],
            ["secret.tenant", "secret.id"],
            name="webhook_endpoint_secret_fkey",
        ),
        sa.ForeignKeyConstraint(
            ["tenant"], ["tenant.id"], name=op.f("webhook_endpoint_tenant_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("webhook_endpoint_pkey")),
        sa.UniqueConstraint("tenant", "id", name=op.f("webhook_endpoint_tenant_id_key")),
    )
    op.create_index("webhook_endpoint_old_secret", "webhook_endpoint", ["old_secret"], unique=False)
    op.create_index("webhook_endpoint_secret", "webhook_endpoint", ["secret"], unique=False)
    op.create_table(
        "workflow_version",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column(
            "definition", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "workflow"],
            ["workflow.tenant", "workflow.name"],
            name=op.f("workflow_version_tenant_workflow_fkey"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("workflow_version_pkey")),
        sa.UniqueConstraint("tenant", "id", name=op.f("workflow_version_tenant_id_key")),
        sa.UniqueConstraint(
            "tenant", "workflow", "number", name=op.f("workflow_version_tenant_workflow_number_key")
        ),
    )
    op.create_table(
        "delivery",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("endpoint", sa.Uuid(), nullable=False),
        sa.Column("event", sa.Uuid(), nullable=False),
        sa.Column("generation", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("tries", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (state IN ('delivered', 'failed'))",
            name=op.f("delivery_ends_once"),
        ),
        sa.CheckConstraint(
            "(lease_until IS NOT NULL) = (state = 'dispatched')",
            name=op.f("delivery_leased_while_out"),
        ),
        sa.CheckConstraint(
            "claimed_at IS NULL OR state = 'dispatched'", name=op.f("delivery_claimed_while_out")
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'dispatched', 'delivered', 'failed')",
            name=op.f("delivery_state_known"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "endpoint"],
            ["webhook_endpoint.tenant", "webhook_endpoint.id"],
            name=op.f("delivery_tenant_endpoint_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "event"],
            ["outbox_event.tenant", "outbox_event.id"],
            name=op.f("delivery_tenant_event_fkey"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("delivery_pkey")),
        sa.UniqueConstraint(
            "endpoint", "event", "generation", name=op.f("delivery_endpoint_event_generation_key")
        ),
        sa.UniqueConstraint("tenant", "id", name=op.f("delivery_tenant_id_key")),
    )
    op.create_index(
        "delivery_due",
        "delivery",
        ["endpoint", "due_at"],
        unique=False,
        postgresql_where="state = 'pending'",
    )
    op.create_index(
        "delivery_leased",
        "delivery",
        ["lease_until"],
        unique=False,
        postgresql_where="state = 'dispatched'",
    )
    op.create_index("delivery_listed", "delivery", ["endpoint", "id"], unique=False)
    op.create_index("delivery_of_event", "delivery", ["event"], unique=False)
    op.create_table(
        "job",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column(
            "bucket",
            sa.SmallInteger(),
            sa.Computed("get_byte(uuid_send(tenant), 15)", persisted=True),
            nullable=False,
        ),
        sa.Column("key", sa.Uuid(), nullable=True),
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("version", sa.Uuid(), nullable=False),
        sa.Column("version_number", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("waiting_for", sa.Text(), nullable=True),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("home_lane", sa.Text(), nullable=True),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column("rank", sa.DateTime(timezone=True), nullable=False),
        sa.Column("cap_group", sa.BigInteger(), nullable=False),
        sa.Column(
            "limits", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column(
            "input", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column(
            "output", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column(
            "error", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column(
            "progress", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column("max_cost_nanousd", sa.BigInteger(), nullable=True),
        sa.Column("predicted_nanousd", sa.BigInteger(), nullable=False),
        sa.Column("need_nanousd", sa.BigInteger(), nullable=True),
        sa.Column("max_attempts", sa.BigInteger(), nullable=False),
        sa.Column("run", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("losses", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("shared_losses", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("interruptions", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("undelivered", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("current_attempt", sa.Uuid(), nullable=True),
        sa.Column("event_seq", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("cancel_requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("wake_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("timeout_seconds", sa.BigInteger(), nullable=True),
        sa.Column("run_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deadline_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "metadata", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("end_user", sa.Text(), nullable=True),
        sa.Column("session", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("callback", sa.Uuid(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("queued_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("erased_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(current_attempt IS NOT NULL) = (state IN ('dispatched', 'running'))",
            name=op.f("job_attempt_is_current"),
        ),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (state IN ('succeeded', 'failed', 'cancelled', 'expired'))",
            name=op.f("job_ends_once"),
        ),
        sa.CheckConstraint(
            "(home_lane IS NOT NULL) = (lane = 'quarantine')",
            name=op.f("job_quarantined_from_a_lane"),
        ),
        sa.CheckConstraint(
            "(waiting_for IS NOT NULL) = (state = 'waiting')", name=op.f("job_waits_for_something")
        ),
        sa.CheckConstraint("jsonb_typeof(error) <> 'null'", name=op.f("job_error_is_no_json_null")),
        sa.CheckConstraint(
            "jsonb_typeof(limits) <> 'null'", name=op.f("job_limits_is_no_json_null")
        ),
        sa.CheckConstraint(
            "jsonb_typeof(output) <> 'null'", name=op.f("job_output_is_no_json_null")
        ),
        sa.CheckConstraint(
            "jsonb_typeof(progress) <> 'null'", name=op.f("job_progress_is_no_json_null")
        ),
        sa.CheckConstraint(
            "lane IN ('interactive', 'standard', 'batch', 'quarantine')",
            name=op.f("job_lane_known"),
        ),
        sa.CheckConstraint(
            "started_at IS NOT NULL OR state NOT IN ('running', 'succeeded')",
            name=op.f("job_ran_before_it_ended"),
        ),
        sa.CheckConstraint(
            "state <> 'scheduled' OR wake_at IS NOT NULL", name=op.f("job_scheduled_for_a_time")
        ),
        sa.CheckConstraint(
            "state IN ('scheduled', 'queued', 'dispatched', 'running', 'waiting', 'succeeded', 'failed', 'cancelled', 'expired')",
            name=op.f("job_state_known"),
        ),
        sa.CheckConstraint(
            "waiting_for IN ('approval', 'backoff', 'budget', 'capacity', 'children', 'intervention', 'signal', 'timer')",
            name=op.f("job_wait_known"),
        ),
        sa.CheckConstraint(
            "erased_at IS NULL OR finished_at IS NOT NULL", name=op.f("job_erased_once_ended")
        ),
        sa.CheckConstraint("max_attempts > 0", name=op.f("job_max_attempts_positive")),
        sa.CheckConstraint("max_cost_nanousd > 0", name=op.f("job_max_cost_positive")),
        sa.CheckConstraint("priority BETWEEN 0 AND 9", name=op.f("job_priority_in_range")),
        sa.ForeignKeyConstraint(
            ["tenant", "callback"],
            ["webhook_endpoint.tenant", "webhook_endpoint.id"],
            name=op.f("job_tenant_callback_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "key"], ["api_key.tenant", "api_key.id"], name=op.f("job_tenant_key_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "version"],
            ["workflow_version.tenant", "workflow_version.id"],
            name=op.f("job_tenant_version_fkey"),
        ),
        sa.ForeignKeyConstraint(["tenant"], ["tenant.id"], name=op.f("job_tenant_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("job_pkey")),
        sa.UniqueConstraint("tenant", "id", name=op.f("job_tenant_id_key")),
    )
    op.create_index(
        "job_active",
        "job",
        ["lane", "bucket", "tenant", "cap_group"],
        unique=False,
        postgresql_where="state IN ('dispatched', 'running')",
    )
    op.create_index(
        "job_by_callback",
        "job",
        ["callback"],
        unique=False,
        postgresql_where="callback IS NOT NULL",
    )
    op.create_index("job_by_key", "job", ["key"], unique=False)
    op.create_index("job_by_version", "job", ["version"], unique=False)
    op.create_index(
        "job_expiring",
        "job",
        ["deadline_at"],
        unique=False,
        postgresql_where="finished_at IS NULL AND deadline_at IS NOT NULL",
    )
    op.create_index(
        "job_queued",
        "job",
        ["lane", "bucket", "tenant", "cap_group", "rank", "id"],
        unique=False,
        postgresql_where="state = 'queued'",
    )
    op.create_index(
        "job_spent",
        "job",
        ["finished_at"],
        unique=False,
        postgresql_where="finished_at IS NOT NULL AND predicted_nanousd > 1",
    )
    op.create_index(
        "job_waking",
        "job",
        ["wake_at"],
        unique=False,
        postgresql_where="state IN ('scheduled', 'waiting')",
    )
    op.create_index(
        "job_wanting_money",
        "job",
        ["tenant", "rank"],
        unique=False,
        postgresql_where="state = 'waiting' AND waiting_for = 'budget'",
    )
    op.create_table(
        "schedule_run",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("schedule", sa.Uuid(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("by_hand", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("outcome", sa.Text(), server_default="pending", nullable=False),
        sa.Column("missed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("job", sa.Uuid(), nullable=True),
        sa.Column("code", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(job IS NOT NULL) = (outcome = 'admitted')",
            name=op.f("schedule_run_admitted_has_a_job"),
        ),
        sa.CheckConstraint(
            "outcome IN ('pending', 'admitted', 'refused', 'skipped', 'missed')",
            name=op.f("schedule_run_outcome_known"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "schedule"],
            ["schedule.tenant", "schedule.id"],
            name=op.f("schedule_run_tenant_schedule_fkey"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("schedule_run_pkey")),
    )
    op.create_index("schedule_run_of", "schedule_run", ["schedule", "id"], unique=False)
    op.create_index(
        "schedule_run_pending",
        "schedule_run",
        ["id"],
        unique=False,
        postgresql_where="outcome = 'pending'",
    )
    op.create_table(
        "attempt",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("job", sa.Uuid(), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("worker", sa.Uuid(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("dispatched_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "error", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.CheckConstraint(
            "(ended_at IS NOT NULL) = (state = 'ended')", name=op.f("attempt_ends_once")
        ),
        sa.CheckConstraint(
            "(outcome IS NOT NULL) = (state = 'ended')", name=op.f("attempt_ends_somehow")
        ),
        sa.CheckConstraint(
            "jsonb_typeof(error) <> 'null'", name=op.f("attempt_error_is_no_json_null")
        ),
        sa.CheckConstraint(
            "outcome IN ('succeeded', 'failed', 'cancelled', 'expired', 'parked', 'interrupted', 'lost', 'undelivered')",
            name=op.f("attempt_outcome_known"),
        ),
        sa.CheckConstraint(
            "state <> 'running' OR worker IS NOT NULL", name=op.f("attempt_run_by_someone")
        ),
        sa.CheckConstraint(
            "state IN ('dispatched', 'running', 'ended')", name=op.f("attempt_state_known")
        ),
        sa.CheckConstraint(
            "(worker IS NOT NULL) = (claimed_at IS NOT NULL)",
            name=op.f("attempt_claimed_by_someone"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "job"], ["job.tenant", "job.id"], name=op.f("attempt_tenant_job_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("attempt_pkey")),
        sa.UniqueConstraint("job", "number", name=op.f("attempt_job_number_key")),
    )
    op.create_index(
        "attempt_leased",
        "attempt",
        ["lease_until"],
        unique=False,
        postgresql_where="ended_at IS NULL",
    )
    op.create_index(
        "attempt_of_worker",
        "attempt",
        ["worker"],
        unique=False,
        postgresql_where="ended_at IS NULL",
    )
    op.create_table(
        "budget_account",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("job", sa.Uuid(), nullable=True),
        sa.Column("limit_nanousd", sa.BigInteger(), nullable=False),
        sa.Column("spent_nanousd", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("held_nanousd", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("overrun_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(job IS NOT NULL) = (kind = 'job')", name=op.f("budget_account_job_of_its_kind")
        ),
        sa.CheckConstraint("kind IN ('tenant', 'job')", name=op.f("budget_account_kind_known")),
        sa.CheckConstraint(
            "limit_nanousd >= 0 AND spent_nanousd >= 0 AND held_nanousd >= 0",
            name=op.f("budget_account_not_negative"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "job"], ["job.tenant", "job.id"], name=op.f("budget_account_tenant_job_fkey")
        ),
        sa.ForeignKeyConstraint(["tenant"], ["tenant.id"], name=op.f("budget_account_tenant_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("budget_account_pkey")),
    )
    op.create_index("budget_account_of_job", "budget_account", ["job"], unique=True)
    op.create_index(
        "budget_account_of_tenant",
        "budget_account",
        ["tenant"],
        unique=True,
        postgresql_where="kind = 'tenant'",
    )
    op.create_table(
        "delivery_try",
        sa.Column("delivery", sa.Uuid(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("duration_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "delivery"],
            ["delivery.tenant", "delivery.id"],
            name=op.f("delivery_try_tenant_delivery_fkey"),
        ),
        sa.PrimaryKeyConstraint("delivery", "number", name=op.f("delivery_try_pkey")),
    )
    op.create_table(
        "document",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("collection", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("file", sa.Uuid(), nullable=False),
        sa.Column("job", sa.Uuid(), nullable=True),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column(
            "error", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column("revision", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("served", sa.BigInteger(), nullable=True),
        sa.Column("chunks", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("tokens", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ready_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(error IS NOT NULL) = (state = 'failed')", name=op.f("document_fails_with_a_reason")
        ),
        sa.CheckConstraint(
            "jsonb_typeof(error) <> 'null'", name=op.f("document_error_is_no_json_null")
        ),
        sa.CheckConstraint(
            "state <> 'ready' OR (chunks > 0 AND served IS NOT DISTINCT FROM revision)",
            name=op.f("document_ready_is_served"),
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'ready', 'failed')", name=op.f("document_state_known")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "collection"],
            ["collection.tenant", "collection.id"],
            name=op.f("document_tenant_collection_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "file"], ["file.tenant", "file.id"], name=op.f("document_tenant_file_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "job"], ["job.tenant", "job.id"], name=op.f("document_tenant_job_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("document_pkey")),
        sa.UniqueConstraint("collection", "name", name=op.f("document_collection_name_key")),
        sa.UniqueConstraint("tenant", "id", name=op.f("document_tenant_id_key")),
    )
    op.create_index("document_of_file", "document", ["file"], unique=False)
    op.create_index("document_of_job", "document", ["job"], unique=False)
    op.create_table(
        "job_event",
        sa.Column("job", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Uuid(), nullable=True),
        sa.Column(
            "data", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "job"], ["job.tenant", "job.id"], name=op.f("job_event_tenant_job_fkey")
        ),
        sa.PrimaryKeyConstraint("job", "seq", name=op.f("job_event_pkey")),
    )
    op.create_table(
        "token_charge",
        sa.Column("job", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("key", sa.Uuid(), nullable=True),
        sa.Column("end_user", sa.Text(), nullable=True),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("charged_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "job"], ["job.tenant", "job.id"], name=op.f("token_charge_tenant_job_fkey")
        ),
        sa.PrimaryKeyConstraint("job", name=op.f("token_charge_pkey")),
    )
    op.create_index(op.f("token_charge_charged_at"), "token_charge", ["charged_at"], unique=False)
    op.create_table(
        "usage_line",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("call", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("job", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("key", sa.Uuid(), nullable=True),
        sa.Column("workflow", sa.Text(), nullable=False),
        sa.Column("workflow_version", sa.BigInteger(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("end_user", sa.Text(), nullable=True),
        sa.Column("tags", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("price", sa.Uuid(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=False),
        sa.Column("estimated", sa.Boolean(), nullable=False),
        sa.Column("unconfirmed", sa.Boolean(), nullable=False),
        sa.Column("cost_nanousd", sa.BigInteger(), nullable=False),
        sa.Column("latency_ms", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("kind IN ('charge', 'correction')", name=op.f("usage_line_kind_known")),
        sa.ForeignKeyConstraint(["price"], ["price.id"], name=op.f("usage_line_price_fkey")),
        sa.ForeignKeyConstraint(
            ["tenant", "job"], ["job.tenant", "job.id"], name=op.f("usage_line_tenant_job_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "key"],
            ["api_key.tenant", "api_key.id"],
            name=op.f("usage_line_tenant_key_fkey"),
        ),
        sa.ForeignKeyConstraint(["tenant"], ["tenant.id"], name=op.f("usage_line_tenant_fkey")),
        sa.PrimaryKeyConstraint("id", name=op.f("usage_line_pkey")),
        sa.UniqueConstraint("call", "kind", name=op.f("usage_line_call_kind_key")),
    )
    op.create_index("usage_line_by_time", "usage_line", ["tenant", "at", "id"], unique=False)
    op.create_index("usage_line_of_job", "usage_line", ["job"], unique=False)
    op.create_index("usage_line_of_key", "usage_line", ["key"], unique=False)
    op.create_index("usage_line_of_price", "usage_line", ["price"], unique=False)
    op.create_table(
        "chunk",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("collection", sa.Uuid(), nullable=False),
        sa.Column("document", sa.Uuid(), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("ordinal", sa.BigInteger(), nullable=False),
        sa.Column("section", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("embedding", HALFVEC(dim=256), nullable=False),
        sa.Column(
            "words",
            postgresql.TSVECTOR(),
            sa.Computed(
                "setweight(to_tsvector('english', section), 'A') || setweight(to_tsvector('english', body), 'B')",
                persisted=True,
            ),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "collection"],
            ["collection.tenant", "collection.id"],
            name=op.f("chunk_tenant_collection_fkey"),
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "document"],
            ["document.tenant", "document.id"],
            name=op.f("chunk_tenant_document_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("chunk_pkey")),
        sa.UniqueConstraint(
            "document", "revision", "ordinal", name=op.f("chunk_document_revision_ordinal_key")
        ),
    )
    op.create_index("chunk_of_collection", "chunk", ["collection"], unique=False)
    op.create_index("chunk_words", "chunk", ["words"], unique=False, postgresql_using="gin")
    op.create_table(
        "reservation",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("job", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("effect_key", sa.Text(), nullable=False),
        sa.Column("accounts", postgresql.ARRAY(sa.Uuid()), nullable=False),
        sa.Column(
            "labels", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("price", sa.Uuid(), nullable=False),
        sa.Column("input_bound_tokens", sa.BigInteger(), nullable=False),
        sa.Column("max_output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("asked_nanousd", sa.BigInteger(), nullable=False),
        sa.Column("cost_nanousd", sa.BigInteger(), nullable=True),
        sa.Column("unconfirmed", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("overrun", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(closed_at IS NOT NULL) = (state <> 'held')", name=op.f("reservation_closes_once")
        ),
        sa.CheckConstraint(
            "NOT unconfirmed OR state = 'settled'",
            name=op.f("reservation_unconfirmed_when_settled"),
        ),
        sa.CheckConstraint(
            "state IN ('held', 'settled', 'released')", name=op.f("reservation_state_known")
        ),
        sa.CheckConstraint("asked_nanousd >= 0", name=op.f("reservation_asked_not_negative")),
        sa.ForeignKeyConstraint(["attempt"], ["attempt.id"], name=op.f("reservation_attempt_fkey")),
        sa.ForeignKeyConstraint(["price"], ["price.id"], name=op.f("reservation_price_fkey")),
        sa.ForeignKeyConstraint(
            ["tenant", "job"], ["job.tenant", "job.id"], name=op.f("reservation_tenant_job_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("reservation_pkey")),
    )
    op.create_index("reservation_of_attempt", "reservation", ["attempt"], unique=False)
    op.create_index("reservation_of_job", "reservation", ["job"], unique=False)
    op.create_index("reservation_of_price", "reservation", ["price"], unique=False)
    op.create_index(
        "reservation_open",
        "reservation",
        ["attempt"],
        unique=False,
        postgresql_where="state = 'held'",
    )
    op.create_table(
        "step",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("job", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("item", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column(
            "result", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column(
            "error", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column(
            "facts", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "(error IS NOT NULL) = (state = 'failed')", name=op.f("step_fails_with_a_reason")
        ),
        sa.CheckConstraint(
            "jsonb_typeof(error) <> 'null'", name=op.f("step_error_is_no_json_null")
        ),
        sa.CheckConstraint(
            "jsonb_typeof(result) <> 'null'", name=op.f("step_result_is_no_json_null")
        ),
        sa.CheckConstraint("state IN ('succeeded', 'failed')", name=op.f("step_state_known")),
        sa.ForeignKeyConstraint(["attempt"], ["attempt.id"], name=op.f("step_attempt_fkey")),
        sa.ForeignKeyConstraint(
            ["tenant", "job"], ["job.tenant", "job.id"], name=op.f("step_tenant_job_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("step_pkey")),
    )
    op.create_index("step_of_attempt", "step", ["attempt"], unique=False)
    op.create_index("step_of_job", "step", ["job", "id"], unique=False)
    op.create_index(
        "step_recorded",
        "step",
        ["job", "name", "item"],
        unique=True,
        postgresql_where="state = 'succeeded'",
    )
    op.create_table(
        "tool_call",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("job", sa.Uuid(), nullable=False),
        sa.Column("attempt", sa.Uuid(), nullable=False),
        sa.Column("call", sa.Uuid(), nullable=False),
        sa.Column("step", sa.Text(), nullable=False),
        sa.Column("item", sa.BigInteger(), nullable=False),
        sa.Column("tool", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=False),
        sa.Column("effect", sa.Text(), nullable=False),
        sa.Column(
            "arguments", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("tries", sa.BigInteger(), nullable=False),
        sa.Column(
            "result", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column(
            "error", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True
        ),
        sa.Column("begun_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "jsonb_typeof(error) <> 'null'", name=op.f("tool_call_error_is_no_json_null")
        ),
        sa.CheckConstraint(
            "jsonb_typeof(result) <> 'null'", name=op.f("tool_call_result_is_no_json_null")
        ),
        sa.CheckConstraint(
            "(ended_at IS NOT NULL) = (result IS NOT NULL OR error IS NOT NULL)",
            name=op.f("tool_call_ends_with_an_outcome"),
        ),
        sa.CheckConstraint(
            "result IS NULL OR error IS NULL", name=op.f("tool_call_has_one_outcome")
        ),
        sa.ForeignKeyConstraint(["attempt"], ["attempt.id"], name=op.f("tool_call_attempt_fkey")),
        sa.ForeignKeyConstraint(
            ["tenant", "job"], ["job.tenant", "job.id"], name=op.f("tool_call_tenant_job_fkey")
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("tool_call_pkey")),
    )
    op.create_index("tool_call_of_attempt", "tool_call", ["attempt"], unique=False)
    op.create_index("tool_call_of_job", "tool_call", ["job"], unique=False)
    op.create_table(
        "usage_pending",
        sa.Column("line", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["line"], ["usage_line.id"], name=op.f("usage_pending_line_fkey")),
        sa.PrimaryKeyConstraint("line", name=op.f("usage_pending_pkey")),
    )
    op.create_table(
        "effect",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("tenant", sa.Uuid(), nullable=False),
        sa.Column("job", sa.Uuid(), nullable=False),
        sa.Column("reservation", sa.Uuid(), nullable=False),
        sa.Column(
            "reply", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False
        ),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["reservation"], ["reservation.id"], name=op.f("effect_reservation_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["tenant", "job"], ["job.tenant", "job.id"], name=op.f("effect_tenant_job_fkey")
        ),
        sa.PrimaryKeyConstraint("key", name=op.f("effect_pkey")),
    )
    op.create_index("effect_of_job", "effect", ["job"], unique=False)
    op.create_index("effect_of_reservation", "effect", ["reservation"], unique=False)
    op.create_table(
        "ledger_entry",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account", sa.Uuid(), nullable=False),
        sa.Column("reservation", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("held_nanousd", sa.BigInteger(), nullable=False),
        sa.Column("spent_nanousd", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "kind IN ('hold', 'settle', 'release', 'correct')", name=op.f("ledger_entry_kind_known")
        ),
        sa.ForeignKeyConstraint(
            ["account"], ["budget_account.id"], name=op.f("ledger_entry_account_fkey")
        ),
        sa.ForeignKeyConstraint(
            ["reservation"], ["reservation.id"], name=op.f("ledger_entry_reservation_fkey")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("ledger_entry_pkey")),
        sa.UniqueConstraint(
            "account", "reservation", "kind", name=op.f("ledger_entry_account_reservation_kind_key")
        ),
    )
    op.create_index("ledger_entry_of_reservation", "ledger_entry", ["reservation"], unique=False)


def downgrade() -> None:
    """Take it back."""
    op.drop_index("ledger_entry_of_reservation", table_name="ledger_entry")
    op.drop_table("ledger_entry")
    op.drop_index("effect_of_reservation", table_name="effect")
    op.drop_index("effect_of_job", table_name="effect")
    op.drop_table("effect")
    op.drop_table("usage_pending")
    op.drop_index("tool_call_of_job", table_name="tool_call")
    op.drop_index("tool_call_of_attempt", table_name="tool_call")
    op.drop_table("tool_call")
    op.drop_index("step_recorded", table_name="step", postgresql_where="state = 'succeeded'")
    op.drop_index("step_of_job", table_name="step")
    op.drop_index("step_of_attempt", table_name="step")
    op.drop_table("step")
    op.drop_index("reservation_open", table_name="reservation", postgresql_where="state = 'held'")
    op.drop_index("reservation_of_price", table_name="reservation")
    op.drop_index("reservation_of_job", table_name="reservation")
    op.drop_index("reservation_of_attempt", table_name="reservation")
    op.drop_table("reservation")
    op.drop_index("chunk_words", table_name="chunk", postgresql_using="gin")
    op.drop_index("chunk_of_collection", table_name="chunk")
    op.drop_table("chunk")
    op.drop_index("usage_line_of_price", table_name="usage_line")
    op.drop_index("usage_line_of_key", table_name="usage_line")
    op.drop_index("usage_line_of_job", table_name="usage_line")
    op.drop_index("usage_line_by_time", table_name="usage_line")
    op.drop_table("usage_line")
    op.drop_index(op.f("token_charge_charged_at"), table_name="token_charge")
    op.drop_table("token_charge")
    op.drop_table("job_event")
    op.drop_index("document_of_job", table_name="document")
    op.drop_index("document_of_file", table_name="document")
    op.drop_table("document")
    op.drop_table("delivery_try")
    op.drop_index(
        "budget_account_of_tenant", table_name="budget_account", postgresql_where="kind = 'tenant'"
    )
    op.drop_index("budget_account_of_job", table_name="budget_account")
    op.drop_table("budget_account")
    op.drop_index("attempt_of_worker", table_name="attempt", postgresql_where="ended_at IS NULL")
    op.drop_index("attempt_leased", table_name="attempt", postgresql_where="ended_at IS NULL")
    op.drop_table("attempt")
    op.drop_index(
        "schedule_run_pending", table_name="schedule_run", postgresql_where="outcome = 'pending'"
    )
    op.drop_index("schedule_run_of", table_name="schedule_run")
    op.drop_table("schedule_run")
    op.drop_index(
        "job_wanting_money",
        table_name="job",
        postgresql_where="state = 'waiting' AND waiting_for = 'budget'",
    )
    op.drop_index(
        "job_waking", table_name="job", postgresql_where="state IN ('scheduled', 'waiting')"
    )
    op.drop_index(
        "job_spent",
        table_name="job",
        postgresql_where="finished_at IS NOT NULL AND predicted_nanousd > 1",
    )
    op.drop_index("job_queued", table_name="job", postgresql_where="state = 'queued'")
    op.drop_index(
        "job_expiring",
        table_name="job",
        postgresql_where="finished_at IS NULL AND deadline_at IS NOT NULL",
    )
    op.drop_index("job_by_version", table_name="job")
    op.drop_index("job_by_key", table_name="job")
    op.drop_index("job_by_callback", table_name="job", postgresql_where="callback IS NOT NULL")
    op.drop_index(
        "job_active", table_name="job", postgresql_where="state IN ('dispatched', 'running')"
    )
    op.drop_table("job")
    op.drop_index("delivery_of_event", table_name="delivery")
    op.drop_index("delivery_listed", table_name="delivery")
    op.drop_index("delivery_leased", table_name="delivery", postgresql_where="state = 'dispatched'")
    op.drop_index("delivery_due", table_name="delivery", postgresql_where="state = 'pending'")
    op.drop_table("delivery")
    op.drop_table("workflow_version")
    op.drop_index("webhook_endpoint_secret", table_name="webhook_endpoint")
    op.drop_index("webhook_endpoint_old_secret", table_name="webhook_endpoint")
    op.drop_table("webhook_endpoint")
    op.drop_index("schedule_of_key", table_name="schedule")
    op.drop_index("schedule_due", table_name="schedule", postgresql_where="fire_at IS NOT NULL")
    op.drop_table("schedule")
    op.drop_table("workflow_cost")
    op.drop_table("workflow")
    op.drop_table("usage_rollup")
    op.drop_table("tool_grant")
    op.drop_table("served")
    op.drop_table("secret")
    op.drop_table("released")
    op.drop_index(
        "outbox_event_waiting", table_name="outbox_event", postgresql_where="relayed_at IS NULL"
    )
    op.drop_table("outbox_event")
    op.drop_index("idempotency_record_expiring", table_name="idempotency_record")
    op.drop_table("idempotency_record")
    op.drop_index("file_dropped", table_name="file", postgresql_where="dropped_at IS NOT NULL")
    op.drop_index("file_bytes", table_name="file")
    op.drop_table("file")
    op.drop_table("collection")
    op.drop_table("api_key")
    op.drop_index(op.f("tenant_plan"), table_name="tenant")
    op.drop_table("tenant")
    op.drop_table("audit_pending")
    op.drop_table("audit_link")
    op.drop_index("worker_heard", table_name="worker")
    op.drop_table("worker")
    op.drop_table("unique_key")
    op.drop_table("switch")
    op.drop_table("queue_level")
    op.drop_table("purge_mark")
    op.drop_table("purge_later")
    op.drop_table("pulse")
    op.drop_table("price")
    op.drop_table("plan")
    op.drop_table("pause")
    op.drop_table("dispatch_shard")
    op.drop_table("cap")
    op.drop_index("audit_entry_listed", table_name="audit_entry")
    op.drop_table("audit_entry")
