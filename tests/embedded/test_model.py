"""The model server: a real answer, on loopback, from a process that holds no privilege."""

from collections.abc import Callable
from pathlib import Path

import openai
import psutil

from app.embedded import model
from tests.embedded.conftest import Holder, until_ended


def test_it_answers_an_openai_client_and_keeps_its_port(folder: Path) -> None:
    running = model.start(folder / "model", slots=1)
    try:
        own = psutil.Process(running.process.pid)
        assert {each.laddr.ip for each in own.net_connections("inet")} == {"127.0.0.1"}
        assert 0 not in (own.uids().real, own.uids().effective, own.uids().saved)
        with openai.OpenAI(base_url=running.base_url, api_key="local", timeout=60) as client:
            assert [each.id for each in client.models.list()] == [model.NAME]
            question = "The lock at Foxton opened in 1814. When did the lock at Foxton open?"
            reply = client.chat.completions.create(
                model=model.NAME,
                max_tokens=24,
                temperature=0,
                messages=[{"role": "user", "content": question}],
            )
        assert "1814" in (reply.choices[0].message.content or "")
        assert reply.usage is not None
        assert reply.usage.prompt_tokens > 10
    finally:
        running.stop()
    again = model.start(folder / "model", slots=1)
    assert again.port == running.port
    again.stop()


async def test_it_ends_with_its_starter(folder: Path, holder: Callable[..., Holder]) -> None:
    first = holder("model")
    server = first.server("model")
    first.kill()
    await until_ended(server)
