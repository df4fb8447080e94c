"""From events to deliveries: one for each endpoint of the tenant that wants the event."""

from dataclasses import dataclass
from typing import Final

from app.core import statements
from app.core.db import Database

CHANNEL: Final = "deliveries"  # notified once a batch that made any; relay.sql and redeliver do it

_RELAY: Final = statements.load(__file__, "relay")


@dataclass(frozen=True, slots=True)
class Relayed:
    """How many events a batch took, and how many deliveries it made."""

    events: int
    deliveries: int


async def relay(db: Database, batch: int) -> Relayed:
    """Relay up to `batch` events. Safe to run twice, and by two at once."""
    async with db.transaction() as session:
        row = (await session.execute(_RELAY.text, {"batch": batch})).one()
    return Relayed(row.events, row.deliveries)
