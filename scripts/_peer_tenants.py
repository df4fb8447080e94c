"""Makes the tenants that the kit of peers knows, and prints their keys as JSON: `python -m scripts._peer_tenants URL`."""

import asyncio
import json
import sys
from typing import Any, Final

from app.audit.trail import Actor
from app.bootstrap import tenancy
from app.core.db import open_database
from app.jobs.states import LANES
from app.tenants import keys, limits, plans
from app.tools import grants, registry
from app.usage import pricing

TENANTS: Final = ("a", "b", "l", "warm")
PLENTY: Final = 1_000_000_000  # limits that are looked at and never reached


def plenty(held: Any) -> dict[str, Any]:
    """Limits as a customer has them, only larger."""
    held = limits.with_rate(held, limits.Rate("tenant", "requests", PLENTY, PLENTY))
    for lane in LANES:
        held = limits.with_ceiling(held, lane, limits.Ceiling(jobs=PLENTY))
    return dict(held)


async def make(database: str) -> dict[str, str]:
    """The keys, by the kit's names of their tenants."""
    actor, made, tools = Actor("operator", "peers"), {}, registry.load(registry.PURE)
    db = open_database(database, pool_size=1)
    async with db.transaction() as session:
        await pricing.seed(session)
        for slug in TENANTS:
            tenant = await tenancy.create(
                session, f"peer-{slug}", slug, limit_nanousd=PLENTY * 1_000_000, actor=actor,
                max_running=10_000,
            )  # fmt: skip
            await plans.set_own_limits(session, tenant, plenty, actor=actor, reason=None)
            await grants.grant(
                session,
                tenant,
                "peers.work",
                None,
                tools=tools,
                actor=actor,
                reason="the kit's job",
            )
            scopes = ("jobs:write", "workflows:write")
            issued = await keys.issue(session, tenant, "peers", scopes, actor=actor)
            made[slug] = issued.secret
    await db.close()
    return made


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(make(sys.argv[1]))) + "\n")
