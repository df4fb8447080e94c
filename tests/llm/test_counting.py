"""How many tokens a prompt is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.llm import counting
from app.llm.gateway import Message


@given(st.text(max_size=200))
@settings(deadline=None)
def test_no_text_has_more_tokens_than_its_bound(text: str) -> None:
    message = [Message("user", text)]
    assert counting.count(message) <= counting.bound(message)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Hello world", 2),
        ("The staircase of locks at Foxton has 10 chambers, since 1814.", 20),
        ("é ü ß 漢字 😀 ﷺ", 15),
        ("  indented\n\n\tcode(x) == 12345;\r\n", 18),
        ("Don't we'll I'm CAN'T 'S", 11),
    ],
)
def test_a_text_is_counted_as_the_embedded_models_server_counts_it(text: str, tokens: int) -> None:
    """The figures are what xllamacpp's /tokenize answered with SmolLM2's weights."""
    assert counting.count_text(text) == tokens


def test_an_empty_text_counts_as_one_token() -> None:
    assert counting.count_text("") == 1
