"""A process that appends to the trail from many connections: `python -m tests.audit.writer URL ID…`."""

import asyncio
import sys
from uuid import UUID

from app.core.db import open_database
from app.core.ids import TenantId
from tests.audit.ledger import append, entries

WRITERS = 50
COMMITS = 5
ENTRIES = 10  # a commit


async def main(url: str, tenants: list[TenantId]) -> None:
    db = open_database(url, pool_size=10)

    async def write(number: int) -> None:
        for commit in range(COMMITS):
            chain = tenants[(number + commit) % len(tenants)]
            await append(db, *entries(chain, ENTRIES, after={"writer": number, "commit": commit}))

    await asyncio.gather(*(write(number) for number in range(WRITERS)))
    await db.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], [TenantId(UUID(text)) for text in sys.argv[2:]]))
