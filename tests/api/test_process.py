"""The API as a process: `python -m app.asgi`."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.api.client import Client
from tests.stack import free_port
from tests.waiting import until


@pytest.fixture
async def process(
    app_url: str, tmp_path: Path
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    port = free_port()
    environment = {"TOWPATH_DATABASE_URL": app_url, "TOWPATH_STATE_DIR": str(tmp_path)}
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "app.asgi", "127.0.0.1", str(port), env=environment,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"

    async def ready() -> bool:
        try:
            async with Client(url, None) as client:
                return (await client.get("/readyz")).status == 200
        except aiohttp.ClientError:
            return False

    await until(ready, seconds=60)
    yield started, url
    if started.returncode is None:
        started.kill()
        await started.wait()


async def test_a_stopping_api_answers_who_waits_and_ends_at_once(
    process: tuple[asyncio.subprocess.Process, str], secret: str
) -> None:
    running, url = process
    async with Client(url, secret) as api, aiohttp.ClientSession() as session:
        job = (await api.job())["id"]
        waiting = asyncio.create_task(api.get(f"/v1/jobs/{job}?wait=30"))
        sent = {"Authorization": f"Bearer {secret}"}
        stream = await session.get(f"{url}/v1/jobs/{job}/events", headers=sent)
        first = await stream.content.readline()

        async def two_wait() -> bool:
            return b"towpath_watching_clients 2.0" in (await api.get("/metrics")).body

        await until(two_wait)
        began = time.monotonic()
        running.send_signal(signal.SIGTERM)
        reply = await waiting
        assert (reply.status, reply.json["status"]) == (200, "queued")
        assert first == b"id: 1\n"
        assert b"job.queued" in await stream.read()  # whole: the stream has ended, not broken off
        assert await running.wait() in (
            0,
            -signal.SIGTERM,
        )  # uvicorn ends by the signal it was sent
        assert time.monotonic() - began < 15
