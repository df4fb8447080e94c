"""Rollups: usage lines summed up by quarters of an hour, so that reports stay quick and days can be cut
in every time zone."""

from datetime import timedelta
from typing import Final

from app.core import statements
from app.core.db import Database

QUARTER: Final = timedelta(minutes=15)  # every zone's offset is a multiple of it
BATCH: Final = 5_000

_ROLL: Final = statements.load(__file__, "roll")


async def roll(db: Database, limit: int = BATCH) -> int:
    """Add up to `limit` pending lines to their sums, in one transaction. Gives how many; 0 at the end."""
    async with db.transaction() as session:
        return int((await session.execute(_ROLL.text, {"batch": limit})).scalar_one())
