"""Records of intents: who claims a name first makes the object, who comes later finds it."""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import statements
from app.core.db import Database
from app.core.errors import Invalid
from app.core.ids import TenantId
from app.idempotency.errors import IdempotencyKeyReused
from app.idempotency.models import IdempotencyRecord

KEPT: Final = timedelta(hours=24)

# A Structured Field string (RFC 9651), or the same key bare, as most clients send it.
_QUOTED: Final = re.compile(r'"((?:[\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_ESCAPED: Final = re.compile(r'\\(["\\])')
_KEY: Final = re.compile(r"[\x21-\x7e]{1,255}")
_CANONICAL: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False)
_CLAIM: Final = statements.load(__file__, "claim")
_PRUNE: Final = statements.load(__file__, "prune")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a name stands for: the object to make, or, replayed, the one that is there."""

    object: UUID
    replayed: bool


def parse_key(header: str) -> str:
    """The key in an `Idempotency-Key` header; `"k"` and `k` are the same one. Raises Invalid.

    Source: draft-ietf-httpapi-idempotency-key-header-07; 1 to 255 visible ASCII characters.
    """
    header = header.strip(" \t")
    quoted = _QUOTED.fullmatch(header)
    key = _ESCAPED.sub(r"\1", quoted[1]) if quoted else header
    if _KEY.fullmatch(key) is None or (quoted is None and header.startswith('"')):
        raise Invalid("Idempotency-Key must be 1 to 255 visible ASCII characters, quoted or bare.")
    return key


def fingerprint(body: Any) -> bytes:
    """What makes two bodies the same: their JSON, whatever the order of names and the space between."""
    return hashlib.sha256(_CANONICAL.encode(body).encode()).digest()


async def claim(
    session: AsyncSession,
    tenant: TenantId,
    route: str,
    key: str,
    fingerprint: bytes,
    object: UUID,  # noqa: A002 - what is made: an endpoint, a key, a document
) -> Claim:
    """Claim a name for `object`, whose id was made just now; call it before anything is written.

    `route` is method and path template. Waits for another transaction that claims the same name. Raises
    IdempotencyKeyReused where the name stands for another body.
    """
    bind = {
        "tenant": tenant, "route": route, "key": key, "fingerprint": fingerprint, "object": object,
        "kept": KEPT,
    }  # fmt: skip
    row = (await session.execute(_CLAIM.text, bind)).one()
    if row.fingerprint != fingerprint:
        raise IdempotencyKeyReused
    return Claim(row.object, replayed=row.object != object)


async def known(session: AsyncSession, tenant: TenantId, route: str, key: str) -> bool:
    """Whether a name stands for something by now. Another request may claim it in the next moment."""
    query = select(IdempotencyRecord.key).where(
        IdempotencyRecord.tenant == tenant,
        IdempotencyRecord.route == route,
        IdempotencyRecord.key == key,
        IdempotencyRecord.expires_at > func.app_now(),
    )
    return await session.scalar(query) is not None


async def prune(db: Database, *, limit: int = 1000) -> int:
    """Delete up to `limit` records whose time is over; gives how many."""
    async with db.transaction() as session:
        return len((await session.execute(_PRUNE.text, {"limit": limit})).all())


async def point(
    session: AsyncSession,
    tenant: TenantId,
    route: str,
    key: str,
    object: UUID,  # noqa: A002 - as in claim
) -> None:
    """Let a name claimed in this transaction stand for an object that was there already."""
    record = (
        IdempotencyRecord.tenant == tenant,
        IdempotencyRecord.route == route,
        IdempotencyRecord.key == key,
    )
    await session.execute(update(IdempotencyRecord).where(*record).values(object=object))
