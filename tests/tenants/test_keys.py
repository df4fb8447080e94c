"""A key is shown once, known by its digest, bounded by its scopes, and gone within a second."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.core import clock, ids
from app.core.db import Database
from app.core.errors import Invalid, NotFound, Unavailable
from app.core.ids import KeyId, TenantId
from app.tenants import keys
from app.tenants.errors import Forbidden, TenantSuspended, Unauthenticated
from tests.arrange import make_tenant, move_clock

ACTOR = trail.Actor("operator", "ada")
READ = ["jobs:read"]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def cache() -> AsyncIterator[keys.Cache]:
    made = keys.Cache(Clock())
    yield made
    await made.close()


async def issue(db: Database, tenant: TenantId, **more: Any) -> keys.Issued:
    async with db.transaction() as session:
        return await keys.issue(session, tenant, "ci", READ, actor=ACTOR, **more)


async def revoke(db: Database, tenant: TenantId, key: KeyId) -> None:
    async with db.transaction() as session:
        await keys.revoke(session, tenant, key, actor=ACTOR)


async def test_a_key_stands_for_its_tenant_and_scopes(
    session: AsyncSession, tenant: TenantId
) -> None:
    issued = await keys.issue(session, tenant, "ci", ["jobs:write", "jobs:read"], actor=ACTOR)
    caller = await keys.authenticate(session, issued.secret)
    assert caller == keys.Caller(
        tenant,
        issued.id,
        frozenset({"jobs:read", "jobs:write"}),
        requires_idempotency=False,
        expires_at=None,
    )


async def test_only_the_digest_of_a_key_is_kept(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    issued = await issue(db, tenant)
    assert issued.secret.startswith("tp_")
    assert len(issued.secret) == 46
    assert issued.secret not in repr(issued)
    row = admin.execute("SELECT prefix, digest FROM api_key").fetchone()
    assert row == (issued.secret[:9], hashlib.sha256(issued.secret.encode()).digest())
    everything = admin.execute(
        "SELECT (SELECT string_agg(k::text, '') FROM api_key k), (SELECT string_agg(e::text, '') FROM audit_entry e)"
    ).fetchone()
    assert issued.secret[9:] not in str(everything)


async def test_keys_are_not_alike(session: AsyncSession, tenant: TenantId) -> None:
    made = {(await keys.issue(session, tenant, "k", READ, actor=ACTOR)).secret for _ in range(50)}
    assert len({secret[3:12] for secret in made}) == 50


async def test_a_bad_key_is_refused_whatever_is_wrong_with_it(
    session: AsyncSession, tenant: TenantId
) -> None:
    soon = clock.now() + timedelta(hours=1)
    expiring = await keys.issue(session, tenant, "soon", READ, actor=ACTOR, expires_at=soon)
    revoked = await keys.issue(session, tenant, "gone", READ, actor=ACTOR)
    good = await keys.issue(session, tenant, "good", READ, actor=ACTOR)
    await keys.authenticate(session, expiring.secret)
    await keys.revoke(session, tenant, revoked.id, actor=ACTOR)
    await move_clock(session, "1 hour")
    unknown = "tp_" + "0" * 43
    bad = [expiring.secret, revoked.secret, unknown, "", "tp_", good.secret[:-1], good.secret + "0",
           good.secret.swapcase(), f" {good.secret}", good.secret[3:], "tp_" + "é" * 43]  # fmt: skip
    answers = set()
    for secret in bad:
        with pytest.raises(Unauthenticated) as refusal:
            await keys.authenticate(session, secret)
        answers.add((refusal.value.message, str(refusal.value.context)))
    assert len(answers) == 1
    await keys.authenticate(session, good.secret)


async def test_a_suspended_tenant_is_told_so(
    db: Database, admin: psycopg.Connection, tenant: TenantId, cache: keys.Cache
) -> None:
    issued = await issue(db, tenant)
    admin.execute("UPDATE tenant SET state = 'suspended'")
    with pytest.raises(TenantSuspended):
        await keys.identify(cache, db, issued.secret)


@pytest.mark.parametrize(
    ("fault", "pointer"),
    [
        ({"scopes": []}, "/scopes"),
        ({"scopes": ["jobs:read", "jobs:*"]}, "/scopes"),
        ({"name": "  "}, "/name"),
        ({"name": "x" * 201}, "/name"),
        ({"expires_at": clock.now() - timedelta(seconds=1)}, "/expires_at"),
    ],
)
async def test_what_a_key_can_not_be(
    session: AsyncSession, tenant: TenantId, fault: dict[str, Any], pointer: str
) -> None:
    asked = {"name": "ci", "scopes": READ, "expires_at": None} | fault
    with pytest.raises(Invalid) as refusal:
        await keys.issue(session, tenant, **asked, actor=ACTOR)
    assert refusal.value.context["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("wanted", [["admin"], ["keys:write", "budgets:write"]])
async def test_a_key_gives_no_more_than_it_has(
    session: AsyncSession, tenant: TenantId, wanted: list[str]
) -> None:
    own = ["keys:write", "jobs:read"]
    with pytest.raises(Forbidden):
        await keys.issue(session, tenant, "more", wanted, actor=ACTOR, within=own)
    issued = await keys.issue(session, tenant, "less", READ, actor=ACTOR, within=own)
    assert (await keys.authenticate(session, issued.secret)).scopes == set(READ)


async def test_c146_another_tenants_key_is_not_there(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    other = make_tenant(admin, "other")
    theirs = await issue(db, other)
    async with db.transaction() as session:
        for act in (
            keys.find(session, tenant, theirs.id),
            keys.revoke(session, tenant, theirs.id, actor=ACTOR),
        ):
            with pytest.raises(NotFound) as foreign:
                await act
            with pytest.raises(NotFound) as unknown:
                await keys.find(session, tenant, KeyId(ids.new()))
            assert foreign.value.message == unknown.value.message
        assert (await keys.listed(session, tenant, None, 10)).items == []
        await keys.authenticate(session, theirs.secret)


async def test_lists_show_every_key_once_and_no_secret(
    session: AsyncSession, tenant: TenantId
) -> None:
    made = [await keys.issue(session, tenant, f"k{n}", READ, actor=ACTOR) for n in range(5)]
    await keys.revoke(session, tenant, made[2].id, actor=ACTOR)
    seen: list[keys.KeyFacts] = []
    cursor = None
    while True:
        page = await keys.listed(session, tenant, cursor, 2)
        seen += page.items
        cursor = page.next_cursor
        if cursor is None:
            break
    assert [one.id for one in seen] == [one.id for one in reversed(made)]
    assert [one.revoked_at is not None for one in seen] == [False, False, True, False, False]
    assert seen[0].prefix == made[-1].secret[:9]
    with pytest.raises(Invalid):
        await keys.listed(session, tenant, "nonsense", 2)


async def test_a_made_or_ended_key_is_in_its_tenants_trail_once(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    issued = await issue(db, tenant)
    await revoke(db, tenant, issued.id)
    await revoke(db, tenant, issued.id)
    rows = admin.execute("SELECT chain, action, body FROM audit_entry ORDER BY id").fetchall()
    assert [(chain, action) for chain, action, _ in rows] == [
        (tenant, "key.issue"),
        (tenant, "key.revoke"),
    ]
    said = json.loads(rows[0][2])
    assert said["object"] == ids.wire("key", issued.id)
    assert said["actor"] == {"kind": "operator", "id": "ada"}
    assert said["after"] == {
        "name": "ci",
        "prefix": issued.secret[:9],
        "scopes": READ,
        "expires_at": None,
    }


async def test_a_revoked_key_stops_within_one_second(
    db: Database, tenant: TenantId, cache: keys.Cache
) -> None:
    issued = await issue(db, tenant)
    await keys.identify(cache, db, issued.secret)
    await revoke(db, tenant, issued.id)
    cache.clock.now += 0.999  # type: ignore[attr-defined]  # a Clock
    assert (await keys.identify(cache, db, issued.secret)).key == issued.id  # not looked up again
    cache.clock.now += 0.001  # type: ignore[attr-defined]
    with pytest.raises(Unauthenticated):
        await keys.identify(cache, db, issued.secret)


async def test_keys_that_arrive_together_each_find_their_caller(
    db: Database, admin: psycopg.Connection, tenant: TenantId, cache: keys.Cache
) -> None:
    made = [await issue(db, who) for who in (tenant, tenant, make_tenant(admin, "other"))]
    bad = "tp_" + "0" * 43
    asked = [made[0].secret, bad, made[1].secret, made[0].secret, made[2].secret] * 4
    found = await asyncio.gather(
        *(keys.identify(cache, db, secret) for secret in asked), return_exceptions=True
    )
    callers = {one.secret: one.id for one in made}
    for secret, answer in zip(asked, found, strict=True):
        if secret == bad:
            assert isinstance(answer, Unauthenticated)
        else:
            assert isinstance(answer, keys.Caller)
            assert answer.key == callers[secret]


async def test_a_client_that_leaves_harms_no_one(
    db: Database, tenant: TenantId, cache: keys.Cache
) -> None:
    issued = await issue(db, tenant)
    first, second = (asyncio.create_task(keys.identify(cache, db, issued.secret)) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).key == issued.id


async def test_without_a_database_nobody_is_let_in(
    db: Database, tenant: TenantId, cache: keys.Cache
) -> None:
    nowhere = Database("postgresql://towpath_app@127.0.0.1:1/none", db.engine, db.sessions)
    issued = await issue(db, tenant)
    with pytest.raises(Unavailable):
        await keys.identify(cache, nowhere, issued.secret)


async def test_a_bad_key_is_not_remembered(db: Database, cache: keys.Cache) -> None:
    with pytest.raises(Unauthenticated):
        await keys.identify(cache, db, "tp_" + "0" * 43)
    assert cache.known == {}


async def test_the_cache_forgets_the_oldest(
    db: Database, tenant: TenantId, cache: keys.Cache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "KNOWN", 2)
    made = [await issue(db, tenant) for _ in range(3)]
    for one in made:
        await keys.identify(cache, db, one.secret)
    assert [caller.key for _, caller in cache.known.values()] == [made[1].id, made[2].id]
