"""Caps that operators set on what runs at once; read by every pass of the dispatcher. Each change is audited."""

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.audit.actions import Action
from app.core import ids
from app.core.errors import Invalid, NotFound
from app.jobs.caps import Cap
from app.scheduling.models import CapRow

MAX_NAME_CHARS: Final = 200
MAX_RUNNING: Final = 1_000_000


async def put(
    session: AsyncSession, cap: Cap, max_running: int, *, actor: trail.Actor, reason: str
) -> None:
    """Let at most so many run at once; 0 stops the kind, what runs goes on. Raises Invalid."""
    _check(cap)
    if not 0 <= max_running <= MAX_RUNNING:
        raise Invalid.at("/max_running", f"from 0 to {MAX_RUNNING}")
    was = await _locked(session, cap)
    owner, kind, name = cap
    row = {
        "max_running": max_running,
        "reason": reason,
        "set_by": actor.id,
        "set_at": func.app_now(),
    }
    made = insert(CapRow).values(owner=owner, kind=kind, name=name, **row)
    await session.execute(
        made.on_conflict_do_update(index_elements=["owner", "kind", "name"], set_=row)
    )
    await _tell(session, cap, "cap.set", was, {"max_running": max_running}, actor, reason)


async def clear(session: AsyncSession, cap: Cap, *, actor: trail.Actor, reason: str) -> None:
    """Take a cap away. Raises NotFound where there is none."""
    was = await _locked(session, cap)
    if was is None:
        raise NotFound("There is no such cap.")
    await session.execute(delete(CapRow).where(*_is(cap)))
    await _tell(session, cap, "cap.clear", was, None, actor, reason)


async def find(session: AsyncSession, cap: Cap) -> CapRow:
    """A cap as it is set. Raises NotFound."""
    query = select(CapRow).where(*_is(cap)).execution_options(populate_existing=True)
    found = await session.scalar(query)
    if found is None:
        raise NotFound("There is no such cap.")
    return found


async def listed(session: AsyncSession) -> list[CapRow]:
    """All caps that are set, those over all tenants first."""
    order = (CapRow.owner, CapRow.kind, CapRow.name)
    return list(await session.scalars(select(CapRow).order_by(*order)))


def _check(cap: Cap) -> None:
    owner, kind, name = cap
    over_all = owner == trail.PLATFORM
    if kind == "all" and not over_all:
        raise Invalid.at("/kind", "a tenant's own cap is its max_running")
    if kind == "all" and name:
        raise Invalid.at("/name", "what caps everything has no name")
    if kind == "key" and (over_all or ids.parse("key", name) is None):
        raise Invalid.at("/name", "a key is a tenant's, key_…")
    if kind != "all" and not 0 < len(name) <= MAX_NAME_CHARS:
        raise Invalid.at("/name", f"1 to {MAX_NAME_CHARS} characters")


def _is(cap: Cap) -> tuple[Any, ...]:
    owner, kind, name = cap
    return CapRow.owner == owner, CapRow.kind == kind, CapRow.name == name


async def _locked(session: AsyncSession, cap: Cap) -> int | None:
    # Read under the row's lock, so that `before` is what this change replaces.
    return await session.scalar(select(CapRow.max_running).where(*_is(cap)).with_for_update())


async def _tell(
    session: AsyncSession,
    cap: Cap,
    action: Action,
    was: int | None,
    after: Mapping[str, Any] | None,
    actor: trail.Actor,
    reason: str,
) -> None:
    owner, kind, name = cap
    entry = trail.entry(
        owner, actor=actor, action=action, object=f"{kind}:{name}",
        before=None if was is None else {"max_running": was}, after=after, reason=reason,
    )  # fmt: skip
    await trail.append(session, entry)
