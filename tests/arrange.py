"""What tests put in place by plain SQL: what a test arranges, it doesn't test."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import clock, ids
from app.core.ids import JobId, TenantId, VersionId, WorkerId
from app.jobs import caps


def make_tenant(
    admin: psycopg.Connection,
    slug: str,
    *,
    limit_nanousd: int = 10_000_000_000,
    max_running: int = 100,
    bucket: int | None = None,
) -> TenantId:
    """One more tenant with an account of its own; in a bucket of the dispatchers' shards, where given."""
    tenant = TenantId(ids.new())
    if bucket is not None:
        tenant = TenantId(UUID(bytes=tenant.bytes[:15] + bytes([bucket])))
    admin.execute(
        "INSERT INTO tenant (id, slug, name, max_running, created_at) VALUES (%s, %s, %s, %s, app_now())",
        (tenant, slug, slug.title(), max_running),
    )
    admin.execute(
        "INSERT INTO budget_account (id, tenant, kind, limit_nanousd, created_at)"
        " VALUES (%s, %s, 'tenant', %s, app_now())",
        (ids.new(), tenant, limit_nanousd),
    )
    return tenant


def make_listener(admin: psycopg.Connection, tenant: TenantId, state: str = "enabled") -> None:
    """An endpoint that wants the tenant's events."""
    secret = ids.new()
    admin.execute(
        "INSERT INTO secret (id, tenant, purpose, nonce, ciphertext, key_id, created_at)"
        " VALUES (%s, %s, 'webhook', ''::bytea, ''::bytea, '00000000', app_now())",
        (secret, tenant),
    )
    admin.execute(
        "INSERT INTO webhook_endpoint (id, tenant, url, description, events, secret, state, created_at)"
        " VALUES (%s, %s, 'https://example.com/hook', '', '{*}', %s, %s, app_now())",
        (ids.new(), tenant, secret, state),
    )


def make_worker(
    admin: psycopg.Connection,
    slots: int,
    lanes: tuple[str, ...] = ("interactive", "standard", "batch"),
) -> WorkerId:
    """A worker that is heard for a minute from now on: a slow machine is no silent worker."""
    made = WorkerId(ids.new())
    admin.execute(
        "INSERT INTO worker (id, host, pid, lanes, slots, started_at, seen_at, heard_at)"
        " VALUES (%s, 'here', 1, %s, %s, app_now(), app_now() + interval '1 minute', app_now())",
        (made, list(lanes), slots),
    )
    return made


def grant_tool(
    admin: psycopg.Connection, tenant: TenantId, tool: str, limits: dict[str, Any] | None = None
) -> None:
    """Let a tenant use a tool, perhaps within limits of its arguments."""
    admin.execute(
        "INSERT INTO tool_grant (tenant, tool, arguments, reason, granted_by, granted_at)"
        " VALUES (%s, %s, %s, 'a test', 'tests', app_now())",
        (tenant, tool, limits and Jsonb(limits)),
    )


async def heads(
    connection: psycopg.AsyncConnection[Any], tenant: TenantId, count: int = 1
) -> list[JobId]:
    """The jobs of a tenant in the lane `standard` that are next by rank."""
    rows = await connection.execute(
        "SELECT id FROM job WHERE state = 'queued' AND lane = 'standard' AND tenant = %s"
        " ORDER BY rank, id LIMIT %s",
        (tenant, count),
    )
    return [JobId(row[0]) for row in await rows.fetchall()]


async def move_clock(session: AsyncSession, interval: str) -> None:
    """Move app_now() of this connection by an interval such as '3 hours'."""
    await session.execute(
        text("SELECT set_config('towpath.clock_offset', :by, false)"), {"by": interval}
    )


NOOP = {
    "name": "noop",
    "input": {"type": "object"},
    "steps": [{"id": "echo", "kind": "transform", "value": "=input"}],
    "output": "=steps.echo",
}


def make_workflow(
    admin: psycopg.Connection, tenant: TenantId, definition: dict[str, Any] | None = None
) -> VersionId:
    """Version 1 of a workflow, released."""
    data = definition or NOOP
    version = VersionId(ids.new())
    admin.execute(
        "INSERT INTO workflow (tenant, name, released, created_at) VALUES (%s, %s, 1, app_now())",
        (tenant, data["name"]),
    )
    admin.execute(
        "INSERT INTO workflow_version (id, tenant, workflow, number, definition, digest, created_at)"
        " VALUES (%s, %s, %s, 1, %s, %s, app_now())",
        (version, tenant, data["name"], Jsonb(data), json.dumps(data).encode()),
    )
    return version


def make_jobs(
    admin: psycopg.Connection, tenant: TenantId, version: VersionId, count: int = 1, **columns: Any
) -> list[JobId]:
    """Queued jobs of a workflow called noop, oldest first; `columns` replace the defaults."""
    made = []
    kept = columns.get("limits")
    group = caps.group(columns.get("workflow", "noop"), columns.get("key"), kept)
    for place in range(count):
        job = JobId(ids.new())
        values = {
            "id": job, "tenant": tenant, "workflow": "noop", "version": version, "version_number": 1,
            "state": "queued", "lane": "standard", "priority": 4, "input": Jsonb({"n": place}),
            "predicted_nanousd": 1_000, "max_attempts": 3, "metadata": Jsonb({}), "tags": [],
            "cap_group": group,
            "rank": clock.now() + timedelta(microseconds=place), "created_at": clock.now(),
            "queued_at": clock.now(),
        } | columns | {"limits": kept and Jsonb(kept)}  # fmt: skip
        names = sql.SQL(", ").join(map(sql.Identifier, values))
        places = sql.SQL(", ").join([sql.Placeholder()] * len(values))
        admin.execute(
            sql.SQL("INSERT INTO job ({}) VALUES ({})").format(names, places), list(values.values())
        )
        admin.execute(
            "INSERT INTO job_event (job, seq, tenant, at, name, data)"
            " VALUES (%s, 1, %s, app_now(), 'job.queued', '{}')",
            (job, tenant),
        )
        made.append(job)
    return made
