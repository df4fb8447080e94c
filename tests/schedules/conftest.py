"""A desk, and a schedule whose time has come."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any

import psycopg
import pytest

from app.audit.trail import Actor
from app.core import ids
from app.core.db import Database
from app.core.ids import KeyId, ScheduleId, TenantId
from app.intake import admission
from app.intake.admission import Desk, JobSpec
from app.intake.config import IntakeConfig
from app.ratelimit.config import RatelimitConfig
from app.ratelimit.limiter import Limiter
from app.schedules import book
from app.schedules.book import Wish
from app.schedules.config import SchedulesConfig
from app.tenants import keys
from tests.arrange import make_workflow

OPERATOR = Actor("operator", "test")
CONFIG = SchedulesConfig()

Due = Callable[..., Awaitable[ScheduleId]]


@pytest.fixture
async def desk(db: Database, admin: psycopg.Connection, tenant: TenantId) -> AsyncIterator[Desk]:
    make_workflow(admin, tenant)
    alone = Limiter(None, RatelimitConfig())
    opened = admission.open_desk(db, IntakeConfig(), [("local", "smollm2-135m")], alone)
    yield opened
    await opened.close()


@pytest.fixture
async def key(db: Database, tenant: TenantId) -> KeyId:
    async with db.transaction() as session:
        return (await keys.issue(session, tenant, "k", ["jobs:write"], actor=OPERATOR)).id


@pytest.fixture
def due(db: Database, admin: psycopg.Connection, tenant: TenantId, key: KeyId) -> Due:
    """Makes a schedule that was due at a moment, a few seconds ago if none is given."""

    async def make(at: datetime | None = None, **fields: Any) -> ScheduleId:
        schedule = ScheduleId(ids.new())
        given: dict[str, Any] = {
            "name": str(schedule), "cron": "0 * * * *", "job": JobSpec("noop", {"n": 1}),
        }  # fmt: skip
        async with db.transaction() as session:
            await book.create(
                session, CONFIG, tenant, schedule, Wish(**given | fields), key=key, actor=OPERATOR
            )
        admin.execute(
            "UPDATE schedule SET due_at = t, fire_at = t"
            " FROM (SELECT coalesce(%s, app_now() - interval '5 s') AS t) AS given WHERE id = %s",
            (at, schedule),
        )
        return schedule

    return make
