"""Whatever is done to a sealed chain past the database's rules, verification names where it begins."""

import dataclasses
import hashlib
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import psycopg
import pytest

from app.audit import sealer, trail, verification
from app.core import ids
from app.core.db import Database
from app.core.ids import TenantId
from tests.arrange import make_tenant
from tests.audit.ledger import ACTOR, append, entries, report, seal_all

PARK = "UPDATE audit_link SET seq = -1 WHERE chain = %(c)s AND seq = 3"  # aside, for a swap
Tamper = Callable[[psycopg.Connection, UUID], object]


def sql(*statements: str) -> Tamper:
    def run(admin: psycopg.Connection, chain: UUID) -> None:
        for statement in statements:
            admin.execute(statement.encode(), {"c": chain})

    return run


def hashed(previous: bytes, digest: bytes) -> bytes:
    return hashlib.sha256(previous + digest).digest()


def links(admin: psycopg.Connection, chain: UUID) -> list[tuple[int, UUID, bytes, bytes]]:
    query = "SELECT seq, entry, digest, hash FROM audit_link WHERE chain = %s ORDER BY seq"
    return admin.execute(query, (chain,)).fetchall()


def forge(admin: psycopg.Connection, chain: UUID) -> None:
    """Put in a fourth link that follows from the third, and let all later ones move up by one."""
    entry = trail.entry(TenantId(chain), actor=ACTOR, action="key.issue", object="thing_9")
    digest = hashlib.sha256(entry.salt + entry.body.encode()).digest()
    third = links(admin, chain)[2]
    admin.execute("UPDATE audit_link SET seq = -seq WHERE chain = %s AND seq > 3", (chain,))
    admin.execute("UPDATE audit_link SET seq = 1 - seq WHERE chain = %s AND seq < 0", (chain,))
    admin.execute(
        "INSERT INTO audit_entry VALUES (%s, %s, %s, %s, %s, %s)",
        (entry.id, chain, entry.at, entry.action, entry.body, entry.salt),
    )
    admin.execute(
        "INSERT INTO audit_link VALUES (%s, 4, %s, %s, %s, now())",
        (chain, entry.id, digest, hashed(third[3], digest)),
    )


def swap_links(columns: str) -> Tamper:
    """Two neighbours change places in these columns."""

    def run(admin: psycopg.Connection, chain: UUID) -> None:
        row = f"SELECT {columns} FROM audit_link WHERE chain = %s AND seq = %s"
        third, fourth = (admin.execute(row.encode(), (chain, seq)).fetchone() for seq in (3, 4))
        assert third is not None
        assert fourth is not None
        names = columns.split(", ")
        change = f"UPDATE audit_link SET {', '.join(f'{name} = %s' for name in names)}"
        place = " WHERE chain = %s AND seq = %s"
        if "entry" in names:  # unique: out of the way first
            admin.execute(
                f"UPDATE audit_link SET entry = %s{place}".encode(), (ids.new(), chain, 3)
            )
        admin.execute((change + place).encode(), (*third, chain, 4))
        admin.execute((change + place).encode(), (*fourth, chain, 3))

    return run


def of_third(change: str) -> str:
    return f"{change} WHERE id = (SELECT entry FROM audit_link WHERE chain = %(c)s AND seq = 3)"


TAMPERINGS: dict[str, tuple[Tamper, int | None, str]] = {
    "a byte of a body": (sql(of_third("UPDATE audit_entry SET body = overlay(body placing 'X' from 9 for 1)")), 3, "altered"),
    "a byte of a salt": (sql(of_third("UPDATE audit_entry SET salt = set_byte(salt, 0, (get_byte(salt, 0) + 1) % 256)".replace("%", "%%"))), 3, "altered"),
    "the time": (sql(of_third("UPDATE audit_entry SET at = at + interval '1 microsecond'")), 3, "altered"),
    "the action": (sql(of_third("UPDATE audit_entry SET action = 'thing.read'")), 3, "altered"),
    "the chain of an entry": (sql(of_third("UPDATE audit_entry SET chain = gen_random_uuid()")), 3, "altered"),
    "the id of an entry": (sql(of_third("UPDATE audit_entry SET id = '01900000-0000-7000-8000-000000000001'"), "UPDATE audit_link SET entry = '01900000-0000-7000-8000-000000000001' WHERE chain = %(c)s AND seq = 3"), 3, "altered"),
    "an entry gone": (sql(of_third("DELETE FROM audit_entry")), 3, "missing"),
    "an entry and its link gone": (sql(of_third("DELETE FROM audit_entry"), "DELETE FROM audit_link WHERE chain = %(c)s AND seq = 3"), 3, "gap"),
    "the first links gone": (sql("DELETE FROM audit_link WHERE chain = %(c)s AND seq < 3"), 1, "gap"),
    "a link gone, the rest moved down": (sql("DELETE FROM audit_link WHERE chain = %(c)s AND seq = 3", "UPDATE audit_link SET seq = -seq WHERE chain = %(c)s AND seq > 3", "UPDATE audit_link SET seq = -seq - 1 WHERE chain = %(c)s AND seq < 0"), 3, "forged"),
    "a digest": (sql("UPDATE audit_link SET digest = sha256(digest) WHERE chain = %(c)s AND seq = 3"), 3, "forged"),
    "a hash": (sql("UPDATE audit_link SET hash = sha256(hash) WHERE chain = %(c)s AND seq = 3"), 3, "forged"),
    "a link before the first": (sql("INSERT INTO audit_link SELECT chain, 0, gen_random_uuid(), digest, hash, sealed_at FROM audit_link WHERE chain = %(c)s AND seq = 3"), 0, "forged"),
    "two links swapped": (swap_links("entry, digest, hash"), 3, "reordered"),
    "two entries swapped, with their digests": (swap_links("entry, digest"), 3, "reordered"),
    "two entries swapped": (swap_links("entry"), 3, "reordered"),
    "a forged entry with a right-looking hash": (forge, 4, "inserted"),
    "the last three links gone": (sql("DELETE FROM audit_link WHERE chain = %(c)s AND seq > 5"), None, "unchained"),
    "an entry that never waited": (sql("INSERT INTO audit_entry SELECT gen_random_uuid(), chain, at, action, body, salt FROM audit_entry WHERE chain = %(c)s LIMIT 1"), None, "unchained"),
}  # fmt: skip


@pytest.fixture
async def sealed(db: Database, admin: psycopg.Connection, tenant: TenantId) -> TenantId:
    """A chain of 8, another one beside it, and a superuser whom no trigger and no key stops."""
    other = make_tenant(admin, "other")
    for new in (*entries(tenant, 8), *entries(other, 3)):
        await append(db, new)
    await seal_all(db)
    admin.execute("SET session_replication_role = replica")
    return tenant


@pytest.mark.parametrize(("tamper", "seq", "what"), TAMPERINGS.values(), ids=TAMPERINGS)
async def test_c124_the_first_bad_entry_is_named(
    db: Database,
    admin: psycopg.Connection,
    sealed: TenantId,
    tamper: Tamper,
    seq: int | None,
    what: str,
) -> None:
    assert (await report(db, sealed)).broken is None
    place = {} if seq is None else {link[0]: link[1] for link in links(admin, sealed)}
    tamper(admin, sealed)
    broken = {one.chain: one.broken for one in await verification.verify(db)}
    found = broken.pop(sealed)
    assert found is not None
    assert (found.seq, found.what) == (seq, what)
    if what == "altered" and "01900000" not in str(found.entry):
        assert found.entry == place[3]
    assert [other for other in broken.values() if other is not None] == []


async def test_c124_entries_of_one_chain_fit_in_no_other(
    db: Database, admin: psycopg.Connection, sealed: TenantId
) -> None:
    fresh = ids.new()
    copy = "INSERT INTO audit_link SELECT %s, seq, gen_random_uuid(), digest, hash, sealed_at FROM audit_link WHERE chain = %s"
    admin.execute(copy, (fresh, sealed))
    found = (await report(db, TenantId(fresh))).broken
    assert found is not None
    assert (found.seq, found.what) == (1, "forged")


async def test_c124_the_loss_of_a_tail_with_its_entries_needs_an_anchor_elsewhere(
    db: Database, admin: psycopg.Connection, sealed: TenantId
) -> None:
    """What is promised not to be seen, so that nobody relies on it."""
    admin.execute(
        "WITH gone AS (DELETE FROM audit_link WHERE chain = %s AND seq > 5 RETURNING entry)"
        " DELETE FROM audit_entry WHERE id IN (SELECT entry FROM gone)",
        (sealed,),
    )
    kept = await report(db, sealed)
    assert (kept.broken, kept.entries, kept.sealed) == (None, 5, 5)


async def test_every_page_is_read_and_every_chain(
    db: Database, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "PAGE", 4)
    tenants = [make_tenant(admin, f"t{n}") for n in range(4)]
    for count, tenant in enumerate(tenants, start=3):
        await append(db, *entries(tenant, count))
    await seal_all(db)
    admin.execute("SET session_replication_role = replica")
    for tenant in (tenants[1], tenants[3]):  # the last entry of each, on a later page
        change = "UPDATE audit_entry SET body = '{}' WHERE id = (SELECT max(entry::text)::uuid FROM audit_link WHERE chain = %s)"
        admin.execute(change, (tenant,))
    seen: list[tuple[int, int]] = []
    reports = await verification.verify(db, progress=lambda done, total: seen.append((done, total)))
    found = {one.chain: one.broken and one.broken.seq for one in reports}
    assert found == {tenants[0]: None, tenants[1]: 4, tenants[2]: None, tenants[3]: 6}
    assert seen[-1] == (18, 18)


async def test_what_is_unsealed_is_counted_and_aged(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> None:
    await append(db, *entries(tenant, 3))
    assert await sealer.seal(db, limit=2) == 2
    admin.execute("SELECT set_config('session_replication_role', 'replica', false)")
    admin.execute(
        "UPDATE audit_entry SET at = at - interval '90 seconds' WHERE id IN (SELECT entry FROM audit_pending)"
    )
    found = await report(db, tenant)
    assert (found.entries, found.sealed, found.unsealed, found.broken) == (3, 2, 1, None)
    assert found.oldest_unsealed_seconds is not None
    assert timedelta(seconds=90) <= timedelta(seconds=found.oldest_unsealed_seconds)


@pytest.mark.parametrize("body", ["not json", "[]", "{}"])
async def test_what_was_put_in_past_the_trail_is_sealed_and_told(
    db: Database, tenant: TenantId, body: str
) -> None:
    await append(db, *entries(tenant, 1))
    (forged,) = entries(tenant, 1)
    async with db.transaction() as session:
        await trail.append(session, dataclasses.replace(forged, body=body))
    await seal_all(db)
    found = (await report(db, tenant)).broken
    assert found is not None
    assert (found.seq, found.entry, found.what) == (2, forged.id, "altered")


async def test_a_chain_that_is_not_there_has_no_report(db: Database) -> None:
    assert await verification.verify(db, ids.new()) == []
