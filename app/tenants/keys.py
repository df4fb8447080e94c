"""API keys: issued once in clear, known afterwards by their digest alone."""

import hashlib
import re
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import psycopg
from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.core import ids, lists, statements
from app.core.db import Database
from app.core.errors import Invalid, NotFound
from app.core.groupcommit import GroupCommit
from app.core.ids import KeyId, TenantId
from app.core.lists import Page
from app.tenants import limits
from app.tenants.errors import Forbidden, TenantSuspended, Unauthenticated
from app.tenants.limits import Limits
from app.tenants.models import ApiKey

ADMIN: Final = "admin"  # the platform's own routes, over all tenants
SCOPES: Final = frozenset({
    "jobs:write", "jobs:read", "workflows:write", "workflows:read", "collections:write",
    "collections:read", "webhooks:write", "usage:read", "budgets:write", "approvals:write",
    "keys:write", "audit:read", ADMIN,
})  # fmt: skip
NAME_CHARS: Final = 200
SHOWN: Final = 9  # characters of a key that lists show: enough to tell keys apart, none to guess by
KNOWN_FOR: Final = (
    1.0  # seconds that a key is believed without a look: a revoked one works no longer
)
KNOWN: Final = 10_000  # keys in a cache; the oldest goes first

_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS: Final = 43  # 32 bytes in base 62
_FORM: Final = re.compile(rf"tp_[0-9A-Za-z]{{{_DIGITS}}}")
_AUTHENTICATE: Final = statements.load(__file__, "authenticate")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls: a tenant by one of its keys, and what that key may do."""

    tenant: TenantId
    key: KeyId
    scopes: frozenset[str]
    requires_idempotency: bool
    expires_at: datetime | None
    limits: Limits = limits.NONE


@dataclass(frozen=True, slots=True)
class Issued:
    """A new key. `secret` is seen this once."""

    id: KeyId
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """What may be shown of a key."""

    id: KeyId
    name: str
    prefix: str
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None


@dataclass(slots=True)
class Cache:
    """Callers known for a moment in one process, by the digest of their key."""

    clock: Callable[[], float] = time.monotonic
    known: dict[bytes, tuple[float, Caller]] = field(default_factory=dict)
    group: GroupCommit[bytes, Any] | None = None  # made at the first look

    async def close(self) -> None:
        """Give the connection back."""
        if self.group is not None:
            await self.group.close()


async def issue(
    session: AsyncSession,
    tenant: TenantId,
    name: str,
    scopes: Iterable[str],
    *,
    actor: trail.Actor,
    expires_at: datetime | None = None,
    within: Iterable[str] | None = None,
    id: KeyId | None = None,  # noqa: A002 - made before, where an idempotency record names it
) -> Issued:
    """Make a key. `within` are the scopes of the key that asks, which it can't exceed; None: an operator.

    Raises Invalid, Forbidden.
    """
    wanted = sorted(set(scopes))
    _check(name, wanted, within)
    if expires_at is not None and not await session.scalar(select(expires_at > func.app_now())):
        raise Invalid.at("/expires_at", "must be in the future")
    key, secret = id or KeyId(ids.new()), _secret()
    row = {
        "id": key, "tenant": tenant, "name": name, "prefix": secret[:SHOWN], "digest": _digest(secret),
        "scopes": wanted, "created_at": func.app_now(), "expires_at": expires_at,
    }  # fmt: skip
    await session.execute(insert(ApiKey).values(row))
    after = {"name": name, "prefix": secret[:SHOWN], "scopes": wanted, "expires_at": expires_at}
    entry = trail.entry(tenant, actor=actor, action="key.issue", object=wire(key), after=after)
    await trail.append(session, entry)
    return Issued(key, secret)


async def revoke(
    session: AsyncSession, tenant: TenantId, key: KeyId, *, actor: trail.Actor
) -> None:
    """End a key; again changes nothing. Raises NotFound where the tenant has no such key."""
    ended = await session.execute(
        update(ApiKey)
        .where(ApiKey.tenant == tenant, ApiKey.id == key, ApiKey.revoked_at.is_(None))
        .values(revoked_at=func.app_now())
        .returning(ApiKey.name, ApiKey.prefix)
    )
    row = ended.one_or_none()
    if row is None:
        await find(session, tenant, key)  # unknown, or ended before
        return
    before = {"name": row.name, "prefix": row.prefix}
    entry = trail.entry(tenant, actor=actor, action="key.revoke", object=wire(key), before=before)
    await trail.append(session, entry)


async def find(session: AsyncSession, tenant: TenantId, key: KeyId) -> KeyFacts:
    """One key of a tenant. Raises NotFound."""
    found = await session.scalar(select(ApiKey).where(ApiKey.tenant == tenant, ApiKey.id == key))
    if found is None:
        raise NotFound("No such key.")
    return _facts(found)


async def listed(
    session: AsyncSession, tenant: TenantId, cursor: str | None, limit: int
) -> Page[KeyFacts]:
    """A tenant's keys, revoked ones too, newest first. Raises Invalid for a cursor that isn't ours."""
    query = select(ApiKey).where(ApiKey.tenant == tenant)
    if cursor is not None:
        last = lists.after(cursor)
        if last is None:
            raise Invalid.at("/cursor", "is not a cursor of this list")
        query = query.where(ApiKey.id < last)
    found = list(await session.scalars(query.order_by(ApiKey.id.desc()).limit(limit + 1)))
    items = [_facts(key) for key in found[:limit]]
    return Page(items, lists.cursor(items[-1].id) if len(found) > limit else None)


async def authenticate(session: AsyncSession, secret: str) -> Caller:
    """The caller that a key stands for. Raises Unauthenticated, and TenantSuspended.

    Found by its digest: nothing of the key itself is compared, so no time tells how much was right.
    """
    digest = _digest_of(secret)
    found = await session.execute(_AUTHENTICATE.text, {"digests": [digest]})
    return _caller(found.one_or_none())


def known(cache: Cache, secret: str) -> Caller | None:
    """The caller of a key that was looked up within KNOWN_FOR seconds, or None."""
    seen = cache.known.get(_digest(secret))
    return None if seen is None or cache.clock() - seen[0] >= KNOWN_FOR else seen[1]


def was_good(cache: Cache, secret: str) -> bool:
    """Whether a key was good when this process last looked."""
    return _digest(secret) in cache.known


def fingerprint(secret: str) -> str:
    """What a key is known by where it must not be stored."""
    return _digest(secret).hex()[:24]


async def identify(cache: Cache, db: Database, secret: str) -> Caller:
    """As `authenticate`, remembered for KNOWN_FOR seconds: that long a revoked key may still work.

    Counted from before the look, so that the bound holds however long the look takes. Keys that
    arrive together are looked up together. Raises Unavailable without a database.
    """
    digest, now = _digest_of(secret), cache.clock()
    seen = cache.known.get(digest)
    if seen is not None and now - seen[0] < KNOWN_FOR:
        return seen[1]
    if cache.group is None:
        cache.group = GroupCommit(_look, db)
    row = await cache.group.submit(digest)
    cache.known.pop(
        digest, None
    )  # to the end: the oldest look goes first; a bad key is known no longer
    caller = _caller(row)
    cache.known[digest] = (now, caller)
    if len(cache.known) > KNOWN:
        del cache.known[next(iter(cache.known))]
    return caller


def wire(key: KeyId) -> str:
    """The public id of a key."""
    return ids.wire("key", key)


async def _look(connection: psycopg.AsyncConnection[Any], digests: Sequence[bytes]) -> list[Any]:
    cursor = await connection.execute(_AUTHENTICATE.raw, {"digests": list(digests)})
    found = {row.digest: row for row in await cursor.fetchall()}
    return [found.get(digest) for digest in digests]


def _caller(row: Any) -> Caller:
    if row is None:
        raise Unauthenticated
    if not row.good:
        raise Unauthenticated(tenant=row.tenant, key=row.key)
    if row.tenant_state != "active":
        raise TenantSuspended(tenant=row.tenant, key=row.key)
    return Caller(
        row.tenant, row.key, frozenset(row.scopes), row.requires_idempotency, row.expires_at,
        limits.in_force(row.plan_limits, row.limits),
    )  # fmt: skip


def _check(name: str, wanted: list[str], within: Iterable[str] | None) -> None:
    if not name.strip() or len(name) > NAME_CHARS:
        raise Invalid.at("/name", f"1 to {NAME_CHARS} characters")
    if not wanted:
        raise Invalid.at("/scopes", "at least one")
    unknown = [scope for scope in wanted if scope not in SCOPES]
    if unknown:
        raise Invalid.at("/scopes", f"unknown: {', '.join(unknown)}")
    beyond = set(wanted) - set(wanted if within is None else within)
    if beyond:
        raise Forbidden(
            "A key can't give what it hasn't: " + ", ".join(sorted(beyond)), scope=min(beyond)
        )


def _secret() -> str:
    number, digits = int.from_bytes(secrets.token_bytes(32)), []
    for _ in range(_DIGITS):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "tp_" + "".join(digits)


def _digest_of(secret: str) -> bytes:
    """The digest of what has a key's form. Raises Unauthenticated for what hasn't."""
    if _FORM.fullmatch(secret) is None:
        raise Unauthenticated
    return _digest(secret)


def _digest(secret: str) -> bytes:
    # Plain SHA-256: the key is 256 random bits, so there is nothing that salt or slowness would guard.
    return hashlib.sha256(secret.encode()).digest()


def _facts(key: ApiKey) -> KeyFacts:
    return KeyFacts(
        key.id,
        key.name,
        key.prefix,
        tuple(key.scopes),
        key.created_at,
        key.expires_at,
        key.revoked_at,
    )
