"""Denials in the trail: which key tried what is not its to do. Bounded, so that nobody floods it.

One entry an actor, action and minute, by an id made from these three: whichever process of the API
meets the second one, the database has it already.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

from app.audit import trail
from app.core import clock, ids, redaction, statements
from app.core.db import Database
from app.core.ids import EntryId, TenantId

TARGET_CHARS: Final = 200

_APPEND_ONCE: Final = statements.load(__file__, "append_once")


@dataclass(slots=True)
class Denials:
    """What one process has met in this minute."""

    minute: datetime | None = None
    noted: set[UUID] = field(default_factory=set)


async def note(
    db: Database,
    denials: Denials,
    chain: TenantId,
    *,
    actor: trail.Actor,
    action: str,
    target: str,
    facts: Mapping[str, Any],
) -> bool:
    """Tell a tenant's trail that one of its keys was refused. Gives whether this was the minute's first.

    `action` is what was tried, in as few words as there are routes: it bounds the entries.
    """
    minute = _turn(denials)
    id_ = _id(minute, chain, actor.id, action)
    if id_ in denials.noted:
        return False
    entry = trail.entry(
        chain, actor=actor, action="request.refuse",
        object=redaction.scrub(target[:TARGET_CHARS]), after={"tried": action, **facts}, id_=id_,
    )  # fmt: skip
    async with db.transaction() as session:
        bind = {"entries": json.dumps([entry.columns()])}
        made = (await session.execute(_APPEND_ONCE.text, bind)).scalar_one_or_none()
    denials.noted.add(id_)  # after the commit: a database that was away has noted nothing
    return made is not None


def _turn(denials: Denials) -> datetime:
    minute = clock.now().replace(second=0, microsecond=0)
    if minute != denials.minute:
        denials.minute = minute
        denials.noted.clear()
    return minute


def _id(minute: datetime, *what: object) -> EntryId:
    seed = sha256("\n".join(map(str, what)).encode("utf-8", "backslashreplace")).digest()
    return EntryId(ids.derived(minute, seed))
