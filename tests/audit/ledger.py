"""What the tests of the audit trail share: how entries get there, and how they are sealed and judged."""

from typing import Any

from app.audit import sealer, trail, verification
from app.audit.verification import ChainReport
from app.core.db import Database
from app.core.ids import TenantId

ACTOR = trail.Actor("operator", "ada")


def entries(chain: TenantId, count: int, **facts: Any) -> list[trail.NewEntry]:
    return [
        trail.entry(chain, actor=ACTOR, action="workflow.push", object=f"thing_{n}", **facts)
        for n in range(count)
    ]


async def append(db: Database, *new: trail.NewEntry) -> None:
    async with db.transaction() as session:
        await trail.append(session, *new)


async def seal_all(db: Database) -> int:
    total = 0
    while sealed := await sealer.seal(db):
        total += sealed
    return total


async def report(db: Database, chain: TenantId) -> ChainReport:
    (one,) = await verification.verify(db, chain)
    return one
