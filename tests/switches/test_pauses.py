"""What is paused or drained: told in the trail, twice is once, undone as a whole."""

import json

import psycopg
import pytest

from app.audit.trail import PLATFORM, Actor
from app.core import ids
from app.core.db import Database
from app.core.errors import Invalid
from app.core.ids import TenantId, WorkerId
from app.switches import pauses
from app.switches.errors import Draining
from app.switches.pauses import Scope

ACTOR = Actor("operator", "ann")


def trail(admin: psycopg.Connection) -> list[tuple[str, str, str | None]]:
    rows = admin.execute("SELECT body FROM audit_entry ORDER BY id").fetchall()
    bodies = [json.loads(body) for (body,) in rows]
    return [(body["action"], body["object"], body["reason"]) for body in bodies]


async def test_a_pause_is_told_once_and_undone_with_the_drain(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    lane = pauses.of_lane("batch", tenant)
    async with db.transaction() as session:
        await pauses.pause(session, lane, actor=ACTOR, reason="storm")
        await pauses.pause(session, lane, actor=ACTOR, reason="again")
        await pauses.drain(session, lane, actor=ACTOR, reason="moving")
        assert [(one.mode, one.reason) for one in await pauses.of(session, lane)] == [
            ("drain", "moving"), ("pause", "storm"),
        ]  # fmt: skip
        assert await pauses.of(session, pauses.of_lane("batch")) == []
    async with db.transaction() as session:
        await pauses.resume(session, lane, actor=ACTOR, reason="over")
        await pauses.resume(session, lane, actor=ACTOR, reason="over")
        assert await pauses.listed(session) == []
    assert trail(admin) == [
        ("queue.pause", "lane:batch", "storm"),
        ("queue.drain", "lane:batch", "moving"),
        ("queue.resume", "lane:batch", "over"),
    ]
    assert admin.execute("SELECT DISTINCT chain FROM audit_entry").fetchall() == [(tenant,)]


async def test_a_worker_and_a_tenant_are_named_by_their_public_ids(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    worker = WorkerId(ids.new())
    async with db.transaction() as session:
        await pauses.drain(session, pauses.of_worker(worker), actor=ACTOR, reason="node")
        await pauses.pause(session, pauses.of_tenant(tenant), actor=ACTOR, reason="asked")
    assert [named for _, named, _ in trail(admin)] == [
        f"worker:{ids.wire('wrk', worker)}", f"tenant:{ids.wire('ten', tenant)}",
    ]  # fmt: skip
    chains = admin.execute("SELECT chain FROM audit_entry ORDER BY id").fetchall()
    assert chains == [(PLATFORM,), (tenant,)]


@pytest.mark.parametrize(("name", "reason"), [("", "why"), ("x" * 201, "why"), ("batch", " ")])
async def test_a_pause_needs_a_name_and_a_reason(db: Database, name: str, reason: str) -> None:
    async with db.transaction() as session:
        with pytest.raises(Invalid):
            await pauses.pause(session, pauses.of_lane(name), actor=ACTOR, reason=reason)


def test_every_drained_scope_of_a_job_refuses_it_and_no_other() -> None:
    tenant, other = TenantId(ids.new()), TenantId(ids.new())
    for scope in pauses.over(tenant, "batch", "answer"):
        with pytest.raises(Draining) as refused:
            pauses.refuse({scope: "moving"}, tenant, "batch", "answer")
        assert refused.value.context["scope"] == scope.kind
        assert "moving" in refused.value.message
    foreign = [
        pauses.of_tenant(other), pauses.of_lane("standard"), pauses.of_lane("batch", other),
        pauses.of_workflow("ingest"), pauses.of_workflow("answer", other),
        Scope("worker", PLATFORM, "answer"),
    ]  # fmt: skip
    pauses.refuse(dict.fromkeys(foreign, "moving"), tenant, "batch", "answer")
