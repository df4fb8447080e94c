"""The quarantine's worker of `towpath up`: it runs while jobs wait for it, since it is seldom needed."""

import asyncio
import time
from typing import Final

import psycopg

from app.cli.family import Family, say
from app.core import db
from app.scheduling import quarantine

NAME: Final = "quarantine"
LOOK_SECONDS: Final = 1.0
LINGER_SECONDS: Final = 30.0  # it stays so long after its last job: the next is often a second try


async def keep(family: Family, url: str) -> None:
    """Have the family run it while it is needed; forever. A database that is away changes nothing."""
    until = 0.0
    while True:
        try:
            async with await db.connect(url) as connection:
                while True:
                    seen = await quarantine.look(connection)
                    now = time.monotonic()
                    if seen.needed:
                        until = now + LINGER_SECONDS
                    if family.want(NAME, now < until):
                        say(
                            f"{NAME} {'starts' if now < until else 'ends'}: {seen.queued} jobs wait"
                        )
                    await asyncio.sleep(LOOK_SECONDS)
        except psycopg.Error:
            await asyncio.sleep(LOOK_SECONDS)
