"""The levers: a row once a lever was moved; one that never was is on."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.core.errors import Invalid
from app.switches.models import Switch

NAMES: Final = ("admission", "model_calls", "webhooks")


@dataclass(frozen=True, slots=True)
class State:
    """A lever as it stands. The last three are None where it never was moved."""

    name: str
    off: bool
    reason: str | None = None
    set_by: str | None = None
    set_at: datetime | None = None


async def turn_off(session: AsyncSession, name: str, *, actor: trail.Actor, reason: str) -> None:
    """Stop what hangs on this lever. Raises Invalid for an unknown name."""
    await _move(session, name, actor, reason, off=True)


async def turn_on(session: AsyncSession, name: str, *, actor: trail.Actor, reason: str) -> None:
    """Let it run again."""
    await _move(session, name, actor, reason, off=False)


async def off(session: AsyncSession) -> frozenset[str]:
    """Names of the levers that are off."""
    return frozenset(await session.scalars(select(Switch.name).where(Switch.off)))


async def listed(session: AsyncSession) -> list[Switch]:
    """The levers that were ever moved, by name."""
    return list(await session.scalars(select(Switch).order_by(Switch.name)))


async def states(session: AsyncSession) -> list[State]:
    """All levers as they stand, and who last moved them."""
    moved = {one.name: one for one in await listed(session)}
    return [
        State(name, off=False)
        if (one := moved.get(name)) is None
        else State(name, one.off, one.reason, one.set_by, one.set_at)
        for name in NAMES
    ]


async def state(session: AsyncSession, name: str) -> State:
    """One lever as it stands; `name` is one of NAMES."""
    return next(one for one in await states(session) if one.name == name)


async def _move(
    session: AsyncSession, name: str, actor: trail.Actor, reason: str, *, off: bool
) -> None:
    if name not in NAMES:
        raise Invalid.at("/name", f"one of {', '.join(NAMES)}")
    # Read under the row's lock, so that `before` is what this change replaces.
    held = select(Switch.off, Switch.reason).where(Switch.name == name).with_for_update()
    was = (await session.execute(held)).one_or_none()
    row = {"off": off, "reason": reason, "set_by": actor.id, "set_at": func.app_now()}
    moved = insert(Switch).values(name=name, **row)
    await session.execute(moved.on_conflict_do_update(index_elements=["name"], set_=row))
    entry = trail.entry(
        trail.PLATFORM,
        actor=actor,
        action="switch.turn_off" if off else "switch.turn_on",
        object=name,
        before={"off": was is not None and was.off, "reason": was.reason if was else None},
        after={"off": off},
        reason=reason,
    )
    await trail.append(session, entry)
