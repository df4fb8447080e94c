"""The fake provider and the embedded model's server answer alike in what the gateway rests on."""

import shutil
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from app.embedded import model, states
from app.llm import counting, provider
from app.llm.config import LlmConfig
from app.llm.errors import ContextTooLong, ProviderFailed
from app.llm.gateway import Message
from app.llm.provider import Request
from tests.fakes import provider as fakes

PASSAGE = "The staircase of locks at Foxton has ten chambers. How many chambers has it?"


@pytest.fixture(scope="module")
def embedded() -> Iterator[str]:
    folder = states.temporary()
    running = model.start(folder / "model", slots=2)
    yield running.base_url
    running.stop()
    shutil.rmtree(folder)


@pytest.fixture(params=["fake", "embedded"])
async def server(request: pytest.FixtureRequest) -> AsyncIterator[provider.Provider]:
    async with fakes.serving() as fake:
        fake.window_words = 2_048
        url = fake.base_url if request.param == "fake" else request.getfixturevalue("embedded")
        config = LlmConfig(base_url=url)
        opened = provider.open_provider(config.ladder()[0], config)
        yield opened
        await opened.client.close()


def request(*said: tuple[str, str], max_tokens: int = 16) -> Request:
    messages = [{"role": role, "content": content} for role, content in said]
    return Request(messages, max_tokens, 0.0, (), "key-1", timedelta(seconds=60))


@pytest.mark.parametrize(
    "said",
    [
        [("user", PASSAGE)],
        [("system", "Be brief."), ("user", PASSAGE)],
        [("user", "One?"), ("assistant", "Two."), ("user", "Three? 12345 é 漢字")],
    ],
)
async def test_usage_is_told_and_within_the_bound(
    server: provider.Provider, said: list[tuple[str, str]]
) -> None:
    answer = await provider.complete(server, request(*said))
    messages = [Message(role, content) for role, content in said]
    assert answer.text
    assert answer.tokens is not None
    assert 0 < answer.tokens.output <= 16
    assert 0 < answer.tokens.input <= counting.count(messages) <= counting.bound(messages)


async def test_the_limit_on_the_answer_is_kept_and_told(server: provider.Provider) -> None:
    answer = await provider.complete(server, request(("user", PASSAGE), max_tokens=3))
    assert answer.finish == "length"
    assert answer.tokens is not None
    assert answer.tokens.output == 3


async def test_the_same_question_gets_the_same_answer(server: provider.Provider) -> None:
    first = await provider.complete(server, request(("user", PASSAGE)))
    again = await provider.complete(server, request(("user", PASSAGE)))
    assert first.text == again.text


async def test_a_prompt_too_long_is_refused_as_that(server: provider.Provider) -> None:
    with pytest.raises(ContextTooLong):
        await provider.complete(server, request(("user", "word " * 4_000)))


@pytest.mark.parametrize("server", ["embedded"], indirect=True)
async def test_a_call_that_is_hung_up_on_leaves_room_for_the_next(
    server: provider.Provider,
) -> None:
    """The fake's part of this is in test_gateway.py."""
    story = request(("user", "Tell a long story about a canal."), max_tokens=1_500)
    hurried = replace(story, timeout=timedelta(milliseconds=50))
    for _ in range(3):  # more than the server has slots
        with pytest.raises(ProviderFailed):
            await provider.complete(server, hurried)
    answer = await provider.complete(server, request(("user", PASSAGE)))
    assert answer.text
