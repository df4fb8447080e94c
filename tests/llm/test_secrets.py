"""C142: keys of providers appear nowhere, however a call fails."""

import logging
import traceback
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
import structlog
from pydantic import SecretStr

from app.core import logs
from app.core.db import Database
from app.core.ids import TenantId
from app.llm import gateway
from app.llm.config import LlmConfig, Route
from app.llm.errors import ContextTooLong, ProviderFailed
from app.llm.gateway import Ask, Gateway, Message
from tests.budgets import scene
from tests.fakes.provider import Answer, Provider

KEY, HEADER, QUERY = "sk-CANARY-1", "CANARY-in-a-header", "CANARY-in-a-query"
ECHO = f"Incorrect API key: {KEY}, {HEADER}, {QUERY}"

FAULTS: dict[str, Answer] = {
    "401 that echoes": Answer(status=401, body={"error": {"message": ECHO}}),
    "403 as text": Answer(status=403, body=ECHO),
    "429 that echoes": Answer(status=429, body={"error": {"message": ECHO}}),
    "500 that echoes": Answer(status=500, body={"error": {"message": ECHO}}),
    "200 with an error": Answer(body={"error": {"message": ECHO}}),
    "413 that echoes": Answer(status=413, body={"error": {"message": ECHO}}),
    "not JSON": Answer(body=ECHO),
    "reset": Answer(cut=0),
    "cut": Answer(cut=9),
    "redirect": Answer(
        status=307, headers={"location": f"http://127.0.0.1:1/?key={QUERY}"}, body=""
    ),
    "silent": Answer(held=True),
}


@pytest.fixture
async def keyed(gate: Gateway, fake: Provider, db: Database) -> AsyncIterator[Gateway]:
    config = LlmConfig(
        routes=(
            Route(
                provider="fake", model="fake-1", base_url=fake.base_url, api_key=SecretStr(KEY),
                headers={"x-gateway-key": SecretStr(HEADER)}, query={"key": SecretStr(QUERY)},
            ),
            Route(
                provider="fake", model="fake-1", base_url="https://127.0.0.1:1/v1",
                api_key=SecretStr(KEY), query={"key": SecretStr(QUERY)},
            ),
            Route(  # TLS to a server that speaks none
                provider="fake", model="fake-1", base_url=fake.base_url.replace("http", "https"),
                api_key=SecretStr(KEY), query={"key": SecretStr(QUERY)},
            ),
        ),
        total_timeout=timedelta(seconds=1), retries=0,
    )  # fmt: skip
    opened = gateway.open_gateway(config, gate.ledger, db)
    yield opened
    await gateway.close(opened)


def loud(caplog: pytest.LogCaptureFixture) -> None:
    """Log all that a process at debug level does: logs.configure holds these at WARNING then, too."""
    caplog.set_level(logging.DEBUG)
    for name in logs.QUIET:
        caplog.set_level(logging.WARNING, logger=name)


def shown(error: BaseException, events: list[Any], caplog: pytest.LogCaptureFixture) -> str:
    """All that a process would say of an error: its text, context, traceback, and the logs."""
    told = traceback.format_exception(error)
    parts = [str(error), repr(error), repr(vars(error)), *told, repr(events), caplog.text]
    return "\n".join(parts)


async def buy(
    keyed: Gateway, admin: psycopg.Connection, tenant: TenantId, rung: int
) -> BaseException:
    ask = Ask([Message("user", "hi")], 4, rung=rung)
    with pytest.raises((ProviderFailed, ContextTooLong)) as caught:
        await gateway.complete(keyed, scene.begin(admin, tenant), ask)
    return caught.value


@pytest.mark.parametrize("fault", FAULTS)
async def test_no_key_is_shown_by_a_fault(
    keyed: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId,
    caplog: pytest.LogCaptureFixture, fault: str,
) -> None:  # fmt: skip
    fake.otherwise = FAULTS[fault]
    loud(caplog)
    with structlog.testing.capture_logs() as events:
        error = await buy(keyed, admin, tenant, 0)
    (asked,) = fake.asked[:1]
    assert (asked.headers["x-gateway-key"], asked.query["key"]) == (HEADER, QUERY)  # they were sent
    assert "CANARY" not in shown(error, events, caplog)
    assert "CANARY" not in everything(admin)
    assert error.__cause__ is None
    assert error.__context__ is None


@pytest.mark.parametrize("rung", [1, 2])
async def test_no_key_is_shown_by_a_connection_that_fails(
    keyed: Gateway, admin: psycopg.Connection, tenant: TenantId,
    caplog: pytest.LogCaptureFixture, rung: int,
) -> None:  # fmt: skip
    loud(caplog)
    with structlog.testing.capture_logs() as events:
        error = await buy(keyed, admin, tenant, rung)
    assert "CANARY" not in shown(error, events, caplog)
    assert isinstance(error, ProviderFailed)
    assert error.served == "no"  # a handshake that failed let no request through


def test_settings_do_not_show_keys() -> None:
    route = Route(
        provider="p", model="m", base_url="http://x", api_key=SecretStr(KEY),
        headers={"a": SecretStr(HEADER)}, query={"key": SecretStr(QUERY)},
    )  # fmt: skip
    assert "CANARY" not in repr(route) + str(route) + route.model_dump_json()
    assert route.secrets == [HEADER, QUERY, KEY]


def everything(admin: psycopg.Connection) -> str:
    """Every row of every table as text."""
    tables = admin.execute(
        "SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'"
    ).fetchall()
    rows = [admin.execute(f"SELECT t::text FROM {name} AS t").fetchall() for (name,) in tables]
    return "\n".join(row[0] for table in rows for row in table)
