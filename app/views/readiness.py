"""Whether the platform can work: its database answers and has a schema, and nothing that must go on stands still."""

import asyncio
from dataclasses import dataclass
from typing import Final

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import statements
from app.core.db import Database
from app.core.errors import Unavailable
from app.health import pulses

PATIENCE_SECONDS: Final = 2.0  # a probe wants an answer, not a wait for a connection
SILENT_SECONDS: Final = (
    10.0  # a part that made no progress for so long; with what led here, within 15 s
)

_VERSION: Final = text("SELECT version_num FROM alembic_version")
_HEARING: Final = statements.load(__file__, "hearing")


@dataclass(frozen=True, slots=True)
class Standing:
    """A part that stands still, and what is seen of it."""

    part: str
    detail: str


async def schema_version(db: Database) -> str:
    """The revision that the database was migrated to. Raises Unavailable."""
    version, _ = await _look(db, whole=False)
    return version


async def progress(db: Database) -> str:
    """As `schema_version`, where all parts go on. Raises Unavailable with the `parts` that don't."""
    version, still = await _look(db, whole=True)
    if still:
        names = ", ".join(sorted({one.part for one in still}))
        parts = [{"part": one.part, "detail": one.detail} for one in still]
        raise Unavailable(f"No progress: {names}.", retry_after=5, parts=parts)
    return version


async def _look(db: Database, *, whole: bool) -> tuple[str, list[Standing]]:
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), db.transaction() as session:
            found = (await session.execute(_VERSION)).scalar_one_or_none()
            still = await _still(session) if whole and found is not None else []
    except TimeoutError as error:
        raise Unavailable("The database does not answer.", retry_after=1) from error
    except ProgrammingError as error:
        raise Unavailable("The database has not been migrated.", retry_after=1) from error
    if found is None:
        raise Unavailable("The database has not been migrated.", retry_after=1)
    return str(found), still


async def _still(session: AsyncSession) -> list[Standing]:
    still = []
    for sign in await pulses.seen(session):
        if sign.silent_seconds > SILENT_SECONDS:
            still.append(Standing(sign.part, f"nothing for {sign.silent_seconds:.0f} s"))
        elif sign.fault is not None:
            still.append(Standing(sign.part, sign.fault))
    workers = (await session.execute(_HEARING.text)).one()
    if workers.deaf:
        still.append(Standing("workers", f"{workers.deaf} of {workers.live} receive nothing"))
    elif workers.silent and not workers.live:
        still.append(Standing("workers", f"none is left of {workers.silent}"))
    return still
