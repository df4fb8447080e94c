"""A desk on a real database, and someone who asks."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from app.audit.trail import Actor
from app.core.db import Database
from app.core.ids import TenantId
from app.intake import admission
from app.intake.admission import Asker, Desk
from app.intake.config import IntakeConfig
from app.ratelimit.config import RatelimitConfig
from app.ratelimit.limiter import Limiter
from tests.arrange import make_workflow


@pytest.fixture
async def desk(db: Database, admin: psycopg.Connection, tenant: TenantId) -> AsyncIterator[Desk]:
    make_workflow(admin, tenant)
    alone = Limiter(None, RatelimitConfig())
    opened = admission.open_desk(db, IntakeConfig(), [("local", "smollm2-135m")], alone)
    yield opened
    await opened.close()


@pytest.fixture
def asker(tenant: TenantId) -> Asker:
    return Asker(tenant, None, Actor("operator", "test"), "req_1", "127.0.0.1")
