"""Every pair of operations that competes for a job's row, in both orders, with real commits and real waits."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import psycopg
import pytest

from app.core.db import Database
from app.core.groupcommit import SETTINGS
from app.core.ids import TenantId
from app.intake import admission
from app.intake.config import IntakeConfig
from app.ratelimit.config import RatelimitConfig
from app.ratelimit.limiter import Limiter
from app.scheduling import dispatch
from tests.arrange import make_worker, make_workflow
from tests.concurrency import pairs
from tests.concurrency.outcomes import OUTCOMES
from tests.concurrency.pairs import OPERATIONS, Side

PATIENT = {**SETTINGS, "lock_timeout": "20s"}


@pytest.fixture
async def sides(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> AsyncIterator[tuple[Side, Side]]:
    make_workflow(admin, tenant)
    admin.execute(pairs.STALL)
    async with AsyncExitStack() as stack:

        async def side(*, first: bool) -> Side:
            desk = admission.open_desk(db, IntakeConfig(), [], Limiter(None, RatelimitConfig()))
            stack.push_async_callback(desk.close)
            hot = await stack.enter_async_context(await db.connect_hot(settings=PATIENT))
            passing = await stack.enter_async_context(
                await db.connect_hot(settings=dispatch.SETTINGS)
            )
            return Side(first, make_worker(admin, 50), hot, passing, desk)

        yield await side(first=True), await side(first=False)


def test_every_pair_has_its_outcome() -> None:
    assert set(OUTCOMES) == {(first, second) for first in OPERATIONS for second in OPERATIONS}


@pytest.mark.parametrize("first", OPERATIONS)
async def test_a_pair_ends_as_the_table_says(
    first: str, sides: tuple[Side, Side], db: Database, admin: psycopg.Connection,
    tenant: TenantId, subtests: pytest.Subtests,
) -> None:  # fmt: skip
    lead = await dispatch.lead(sides[0].passing)
    for second in OPERATIONS:
        with subtests.test(f"{first}, then {second}"):
            pair = (first, second)
            scene = await pairs.arrange(db, admin, tenant, lead, sides[0], pair)
            how, said, then, state = await pairs.race(scene, pair, sides)
            pairs.clear(admin)
            assert said in OPERATIONS[first].said
            assert (how, then, state) == OUTCOMES[pair]
