"""A scene of one tenant and one receiver."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from app.core.db import Database
from app.core.ids import TenantId
from tests.fakes.receiver import Receiver, receiving
from tests.webhooks.scene import Scene, open_vault, sender_to


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as one:
        yield one


@pytest.fixture
def scene(db: Database, admin: psycopg.Connection, tenant: TenantId, receiver: Receiver) -> Scene:
    return Scene(db, open_vault(), sender_to(receiver), tenant, admin)
