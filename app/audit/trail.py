"""Entries of the audit trail: made from what a room knows, appended beside the change itself."""

import json
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import psycopg
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit.actions import Action
from app.core import clock, ids, redaction, statements
from app.core.ids import EntryId, TenantId

PLATFORM: Final = TenantId(UUID(int=0))  # the chain of what concerns no single tenant
SALT_BYTES: Final = 16

_JSON: Final = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
)
_GIVEN: Final = ("before", "after", "reason", "request_id")  # what comes from outside
_APPEND: Final = statements.load(__file__, "append")


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: an API key by its wire id, an operator by name, or a part of the platform.

    Where a request is behind it, also which one, and from where.
    """

    kind: Literal["key", "operator", "system"]
    id: str
    request_id: str | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry ready to be stored. `body` holds everything, as the exact text that is hashed."""

    id: EntryId
    chain: UUID
    at: datetime
    action: str
    body: str
    salt: bytes

    def columns(self) -> dict[str, str]:
        """The row as JSON takes it: what `append.sql` and grouped statements read."""
        return {
            "id": str(self.id),
            "chain": str(self.chain),
            "at": self.at.isoformat(),
            "action": self.action,
            "body": self.body,
            "salt": self.salt.hex(),
        }


def entry(
    chain: TenantId,
    *,
    actor: Actor,
    action: Action,
    object: str,  # noqa: A002 - the word of the trail: actor, action, object
    before: Any = None,
    after: Any = None,
    reason: str | None = None,
    request_id: str | None = None,
    address: str | None = None,
    id_: EntryId | None = None,
) -> NewEntry:
    """An entry of a tenant's chain, or of PLATFORM: `actor` did `action` (`key.revoke`) to `object`.

    `object` is a wire id; `before` and `after` are plain data, kept without their secrets. Request and
    address are the actor's unless given. The time is this process's: what is hashed is then exactly
    what is stored. `id_` is for an entry that must not be told twice; else it is new.
    """
    id_ = id_ or EntryId(ids.new())
    at = clock.now()
    body = {
        "id": wire(id_),
        "chain": wire_chain(chain),
        "at": clock.wire(at),
        "actor": {"kind": actor.kind, "id": actor.id},
        "action": action,
        "object": object,
        "before": _plain(before),
        "after": _plain(after),
        "reason": reason,
        "request_id": request_id or actor.request_id,
        "address": address or actor.address,
    }
    text = _encoded(body)
    if redaction.suspect(text):  # few are: an entry is written for every admission
        text = _encoded(body | {name: redaction.redact(body[name]) for name in _GIVEN})
    return NewEntry(id_, chain, at, action, text, secrets.token_bytes(SALT_BYTES))


async def append(session: AsyncSession, *entries: NewEntry) -> None:
    """Store entries with the change that they tell of. Takes no lock; the sealer chains them later."""
    rows = json.dumps([one.columns() for one in entries])
    await session.execute(_APPEND.text, {"entries": rows})


async def append_on(connection: psycopg.AsyncConnection[Any], *entries: NewEntry) -> None:
    """As `append`, in the transaction of a bare connection."""
    rows = json.dumps([one.columns() for one in entries])
    await connection.execute(_APPEND.raw, {"entries": rows})


def wire(entry_id: UUID) -> str:
    """The public id of an entry."""
    return ids.wire("aud", entry_id)


def wire_chain(chain: UUID) -> str:
    """The public name of a chain: its tenant's id, or `platform`."""
    return "platform" if chain == PLATFORM else ids.wire("ten", chain)


def _plain(value: Any) -> Any:
    """Data without any number but whole ones: a float or a Decimal becomes its decimal text."""
    match value:
        case None | bool() | int() | str():
            return value
        case datetime():
            return clock.wire(value)
        case dict():
            return {str(name): _plain(held) for name, held in value.items()}
        case list() | tuple():
            return [_plain(held) for held in value]
        case _:
            return str(value)


def _encoded(plain: Any) -> str:
    """One text for one value: keys sorted, no space, always valid UTF-8."""
    # A lone surrogate, which UTF-8 can't hold, stays as the escape that JSON has for it.
    return _JSON.encode(plain).encode("utf-8", "backslashreplace").decode()
