"""From events to deliveries: one for each endpoint of the tenant that wants the event."""

from typing import Final

from app.core import statements
from app.core.db import Database

CHANNEL: Final = "deliveries"  # notified once a batch that made any; relay.sql and redeliver do it

BATCH: Final = 256  # events a statement; with 20 endpoints each some 5,000 rows

_RELAY: Final = statements.load(__file__, "relay")


async def relay(db: Database) -> int:
    """Relay a batch of events. Gives how many; 0: none waits. Safe to run twice, and by two at once."""
    async with db.transaction() as session:
        row = (await session.execute(_RELAY.text, {"batch": BATCH})).one()
    return int(row.events)
