"""The local receiver believes what is signed by the endpoint's secret, and nothing else."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from app.cli import listen
from app.core import clock
from app.webhooks import signing
from tests.waiting import until

EVENT = "evt_01kbz3y8w0e2rv6f1q9hd5m7xa"
BODY = '{"type": "job.succeeded", "data": {"id": "job_1", "é": 1.0}}'.encode()


class Listening:
    """A receiver with a secret that may change, and what it told."""

    def __init__(self) -> None:
        self.secret: str | None = signing.new_secret()
        self.told: list[listen.Received] = []
        self.port = 0

    async def post(self, headers: dict[str, str], body: bytes = BODY) -> int:
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"http://127.0.0.1:{self.port}/hook", data=body, headers=headers) as answer,
        ):
            return answer.status

    def signed(self, secret: str | None = None, *, age: timedelta = timedelta(0)) -> dict[str, str]:
        by = secret or self.secret
        assert by is not None
        return signing.headers(EVENT, clock.now() - age, BODY, [by])


@pytest.fixture
async def receiver() -> AsyncIterator[Listening]:
    one = Listening()
    receiving = listen.receiving("127.0.0.1", 0, lambda: one.secret, one.told.append)
    async with receiving as one.port:
        yield one


async def test_what_is_signed_is_believed_and_told(receiver: Listening) -> None:
    assert await receiver.post(receiver.signed()) == 204
    [told] = receiver.told
    assert (told.verified, told.fault, told.event_id) == (True, None, EVENT)
    assert told.type == "job.succeeded"
    assert told.body["data"] == {"id": "job_1", "é": 1.0}


async def test_during_a_rotation_one_match_is_enough(receiver: Listening) -> None:
    assert receiver.secret is not None
    secrets = [signing.new_secret(), receiver.secret]
    assert await receiver.post(signing.headers(EVENT, clock.now(), BODY, secrets)) == 204


@pytest.mark.parametrize(
    "broken", ["secret", "body", "age", "none", "garbage", "comma", "no secret"]
)
async def test_anything_else_is_refused_and_told_with_its_fault(
    receiver: Listening, broken: str
) -> None:
    headers, body = receiver.signed(), BODY
    if broken == "secret":
        headers = receiver.signed(signing.new_secret())
    elif broken == "body":
        body = BODY.replace(b"1.0", b"1.1")
    elif broken == "age":
        headers = receiver.signed(age=timedelta(minutes=6))
    elif broken == "none":
        headers = {}
    elif broken == "garbage":
        headers["webhook-signature"] = "v1,é"
        body = b"\xff\xfe"
    elif broken == "comma":
        headers["webhook-signature"] = "v1"
    else:
        receiver.secret = None
    assert await receiver.post(headers, body) == 401
    [told] = receiver.told
    assert not told.verified
    assert told.fault


async def test_the_secret_is_asked_at_each_request(receiver: Listening) -> None:
    later = signing.new_secret()
    assert await receiver.post(receiver.signed(later)) == 401
    receiver.secret = later
    assert await receiver.post(receiver.signed(later)) == 204


async def test_the_command_prints_and_keeps_one_json_object_a_line(tmp_path: Path) -> None:
    secret, kept = tmp_path / "secret", tmp_path / "events.jsonl"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-c", "from app.cli import listen; listen.commands()", "listen",
        "--port", str(port), "--secret-file", str(secret), "--append", str(kept), "--json",
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    one = Listening()
    one.port = port

    async def answers() -> bool:
        try:
            return await one.post(one.signed()) == 401  # there is no secret yet
        except aiohttp.ClientConnectionError:
            return False

    try:
        await until(answers)
        assert one.secret is not None
        secret.write_text(one.secret + "\n")
        assert await one.post(one.signed()) == 204
    finally:
        process.terminate()
        printed, _ = await process.communicate()
    lines = [json.loads(line) for line in printed.splitlines()]
    assert [line["verified"] for line in lines] == [False, True]
    assert lines[1]["id"] == EVENT
    assert kept.read_bytes() == printed
