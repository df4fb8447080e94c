"""A job that has spent, for the reads that join rooms."""

from collections.abc import AsyncIterator

import psycopg
import pytest

from app.budgets import ledger
from app.core.db import Database
from tests.budgets import scene


@pytest.fixture
async def spender(db: Database, admin: psycopg.Connection) -> AsyncIterator[scene.Spender]:
    opened = ledger.open_ledger(db)
    yield scene.Spender(opened, scene.enter_price(admin))
    await ledger.close(opened)
