"""A gateway to a fake provider, over a real ledger."""

from collections.abc import AsyncIterator

import psycopg
import pytest
from pydantic import SecretStr

from app.budgets import ledger
from app.core.db import Database
from app.llm import gateway
from app.llm.config import LlmConfig
from app.llm.gateway import Gateway
from tests.budgets import scene
from tests.fakes import provider as fakes
from tests.fakes.provider import Provider

CANARY = "sk-CANARY-1"


@pytest.fixture
async def fake() -> AsyncIterator[Provider]:
    async with fakes.serving() as running:
        yield running


@pytest.fixture
def config(fake: Provider) -> LlmConfig:
    return LlmConfig(
        provider="fake", model="fake-1", base_url=fake.base_url, api_key=SecretStr(CANARY),
        context_tokens=4_096,
    )  # fmt: skip


@pytest.fixture
async def gate(
    db: Database, admin: psycopg.Connection, config: LlmConfig
) -> AsyncIterator[Gateway]:
    scene.enter_price(admin)
    books = ledger.open_ledger(db)
    opened = gateway.open_gateway(config, books, db)
    yield opened
    await gateway.close(opened)
    await ledger.close(books)
