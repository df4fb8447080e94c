"""Logs join by their ids, error reports reach Sentry, and neither shows a secret or a prompt."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.fakes.receiver import Receiver, receiving

LOGGING = """
import logging, warnings, structlog
from app.core import logs
logs.configure("worker", "debug", True, ["CANARY-KNOWN-VALUE"])
log = structlog.get_logger("app.somewhere")
with logs.bound(job="job_1", tenant="ten_1", attempt="att_1", trace="4bf92f"):
    log.info("step done", step="draft", api_key="CANARY-1", reason="sent sk-CANARY-2")
    logging.getLogger("library").warning("refused %s", "Bearer CANARY-IN-A-HEADER")
    try:
        local = "CANARY-LOCAL"
        raise ValueError("no CANARY-KNOWN-VALUE, no é")
    except ValueError:
        log.exception("step failed")
log.debug("outside")
for name in ("openai", "httpx2", "aiohttp.access", "uvicorn.access"):
    logging.getLogger(name).info("a line a request: CANARY-QUIET")
warnings.warn("careful")
"""

REPORTING = """
import logging, sys, structlog, sentry_sdk
from app.core import logs
from app.core.errors import Unavailable
logs.configure("api", "info", True, ["CANARY-KNOWN-VALUE"])
logs.sentry(sys.argv[1], known=["CANARY-KNOWN-VALUE"])
log = structlog.get_logger("app.somewhere")
with logs.bound(job="job_1", tenant="ten_1"):
    try:
        local = "CANARY-LOCAL"
        raise Unavailable("no route with CANARY-KNOWN-VALUE")
    except Unavailable:
        log.exception("step failed", prompt="CANARY-PROMPT", step="draft", token="CANARY-TOKEN")
    try:
        raise ValueError("can't read CANARY-CUSTOMER-TEXT")
    except ValueError:
        logging.getLogger("library").exception("refused %s", "CANARY-ARGUMENT")
sentry_sdk.flush(5)
"""


def run(code: str, *args: str) -> str:
    command = [sys.executable, "-W", "always", "-c", code, *args]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == ""
    return done.stderr


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(LOGGING).splitlines()]


def test_every_line_is_json_with_the_ids_that_join_it(lines: list[dict[str, Any]]) -> None:
    joined = {"job": "job_1", "tenant": "ten_1", "attempt": "att_1", "trace": "4bf92f"}
    step, foreign, failed, outside, warning = lines
    for line in (step, foreign, failed):
        assert joined.items() <= line.items()
    assert (step["event"], step["step"], step["level"]) == ("step done", "draft", "info")
    assert (step["process"], step["logger"]) == ("worker", "app.somewhere")
    assert step["at"].endswith("Z")
    assert (foreign["logger"], foreign["level"]) == ("library", "warning")
    assert "job" not in outside
    assert "careful" in warning["event"]


def test_no_line_shows_a_secret(lines: list[dict[str, Any]]) -> None:
    text = json.dumps(lines)
    assert "CANARY-" not in text
    assert "ValueError: no [redacted], no é" in lines[2]["exception"]


def test_for_a_terminal_the_same_is_masked() -> None:
    text = run(LOGGING.replace('"debug", True', '"debug", False'))
    assert "step done" in text
    assert "CANARY-" not in text


@pytest.fixture
async def sentry() -> AsyncIterator[Receiver]:
    async with receiving() as one:
        yield one


async def test_sentry_gets_the_error_and_nothing_of_the_customers(sentry: Receiver) -> None:
    dsn = f"http://public@{sentry.host}:{sentry.port}/7"
    await asyncio.to_thread(run, REPORTING, dsn)
    events = [
        json.loads(line)
        for got in sentry.got
        for line in got.body.splitlines()
        if b'"exception"' in line
    ]
    ours, foreign = events
    assert ours["logentry"]["message"] == "step failed"
    assert ours["extra"]["job"] == "job_1"
    assert (ours["extra"]["step"], ours["extra"]["process"]) == ("draft", "api")
    assert ours["extra"]["prompt"] == ours["extra"]["token"] == "[redacted]"
    raised = ours["exception"]["values"][0]
    assert (raised["type"], raised["value"]) == ("Unavailable", "no route with [redacted]")
    assert foreign["exception"]["values"][0]["type"] == "ValueError"
    assert foreign["logentry"]["message"] == "refused %s"
    for event in events:
        assert "CANARY-" not in json.dumps(event)
