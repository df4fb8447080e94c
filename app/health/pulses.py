"""Pulses of one process: parts tell that they made a pass; once a second a row says so for all to see."""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, TypeVar

import psycopg
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import statements
from app.health.models import Pulse

WRITE_SECONDS: Final = 1.0

_WRITE: Final = statements.load(__file__, "write")

Answer = TypeVar("Answer")


@dataclass(slots=True)
class Pulses:
    """What made progress here since the last row was written, each with what is wrong with it, if anything."""

    told: dict[str, str | None] = field(default_factory=dict)

    def beat(self, part: str, fault: str | None = None) -> None:
        """A part has made a pass."""
        self.told[part] = fault

    def after(
        self, part: str, work: Callable[..., Awaitable[Answer]]
    ) -> Callable[..., Awaitable[Answer]]:
        """The same work, which beats each time it has succeeded."""

        async def beating(*arguments: Any) -> Answer:
            answer = await work(*arguments)
            self.beat(part)
            return answer

        return beating


@dataclass(frozen=True, slots=True)
class Sign:
    """A part as its row has it: for how long it has been silent, in seconds, and its fault."""

    part: str
    silent_seconds: float
    fault: str | None


async def write(connection: psycopg.AsyncConnection[Any], pulses: Pulses) -> None:
    """Write what has beaten since the last time."""
    told, pulses.told = pulses.told, {}
    if told:
        bind = {"parts": list(told), "faults": list(told.values())}
        await connection.execute(_WRITE.raw, bind)


async def keep(connection: psycopg.AsyncConnection[Any], parts: Collection[str]) -> None:
    """Forget parts that there are no more: what was taken away doesn't stand still."""
    await connection.execute("DELETE FROM pulse WHERE part <> ALL(%s)", (list(parts),))


async def seen(session: AsyncSession) -> list[Sign]:
    """Every part that has ever beaten."""
    rows = await session.execute(select(Pulse, func.app_now()).order_by(Pulse.part))
    return [Sign(one.part, _since(one.at, now), one.fault) for one, now in rows.all()]


def _since(moment: datetime, now: datetime) -> float:
    return (now - moment).total_seconds()
