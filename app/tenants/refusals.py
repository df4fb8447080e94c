"""Refused credentials, told to the audit trail in sums: an attack must not become a flood of entries."""

import asyncio
from dataclasses import dataclass, field
from typing import Final

import structlog

from app.audit import trail
from app.core.db import Database
from app.core.errors import Unavailable

TOLD_EVERY: Final = 10.0  # seconds
ADDRESSES: Final = 20  # with an entry of their own each time; the others share one
KEYS: Final = 5  # beginnings of keys that an entry names

_LOG: Final = structlog.get_logger(__name__)
_ACTOR: Final = trail.Actor("system", "api")


@dataclass(slots=True)
class _Count:
    failures: int = 0
    held_off: int = 0  # answered 429, with nothing looked up
    keys: set[str] = field(default_factory=set)


class Refusals:
    """What one process refused since it last told. Nothing runs while nothing is refused."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._counts: dict[str, _Count] = {}
        self._teller: asyncio.Task[None] | None = None

    def note(self, address: str, beginning: str, *, held_off: bool) -> None:
        """Count one, of an address, with how its key begins."""
        if address not in self._counts and len(self._counts) >= ADDRESSES:
            address = "others"
        count = self._counts.setdefault(address, _Count())
        count.failures += not held_off
        count.held_off += held_off
        if len(count.keys) < KEYS:
            count.keys.add(beginning)
        if self._teller is None:
            self._teller = asyncio.create_task(self._tell_later())

    async def tell(self) -> None:
        """One entry an address, in the platform's chain. Without a database it is logged."""
        counts, self._counts = self._counts, {}
        entries = [
            trail.entry(
                trail.PLATFORM, actor=_ACTOR, action="credential.refuse", object=f"address {address}",
                after={
                    "failures": count.failures, "held_off": count.held_off,
                    "keys": sorted(count.keys),
                },
                address=None if address == "others" else address,
            )
            for address, count in counts.items()
        ]  # fmt: skip
        if not entries:
            return
        try:
            async with self._db.transaction() as session:
                await trail.append(session, *entries)
        except Unavailable:
            _LOG.warning(
                "refused credentials", counts={one: counts[one].failures for one in counts}
            )

    async def close(self) -> None:
        """Tell what is left."""
        teller, self._teller = self._teller, None
        if teller is not None:
            teller.cancel()
            await asyncio.gather(teller, return_exceptions=True)
        await self.tell()

    async def _tell_later(self) -> None:
        await asyncio.sleep(TOLD_EVERY)
        self._teller = None
        await self.tell()
