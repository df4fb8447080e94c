"""Strict JSON, as a pure rule."""

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api import strict
from app.api.errors import InvalidJson

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc/~é\"\\[]{}"), inner),
    max_leaves=30,
)  # fmt: skip


def pointer_of(body: bytes) -> str:
    with pytest.raises(InvalidJson) as refused:
        strict.parse(body)
    pointer: str = refused.value.context["errors"][0]["pointer"]
    return pointer


@given(VALUES)
def test_what_any_parser_reads_alike_is_read_unchanged(value: object) -> None:
    for ascii_only in (True, False):
        assert strict.parse(json.dumps(value, ensure_ascii=ascii_only).encode()) == value


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"", ""),
        (b"{", ""),
        (b"{} {}", ""),
        (b"{'a': 1}", ""),
        (b'{"a": 01}', ""),
        (b'{"a": "\x00"}', ""),
        (b'"\xff"', ""),
        (b'"\xed\xa0\x80"', ""),  # a surrogate in the bytes themselves
        (b'{"a": NaN}', "/a"),
        (b'{"a": [1, -Infinity]}', "/a/1"),
        (b'{"a": 1e999}', "/a"),
        (b'{"a": -1e999}', "/a"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "/a"),
        (b'{"a": 1, "a": 1}', "/a"),
        (b'{"x": [{"a/b~": 1, "a/b~": 2}]}', "/x/0/a~1b~0"),
        (b'{"a": 1, "\\u0061": 2}', "/a"),
        (b'{"a": ["\\u0000"]}', "/a/0"),
        (b'{"a": {"b\\u0000": 1}}', "/a"),
        (b'{"a": "\\ud800"}', "/a"),
        (b'{"a": "\\udc00\\ud800"}', "/a"),
        (b'{"\\udead": 1}', ""),
    ],
)
def test_what_two_parsers_could_read_differently_is_refused_at_its_place(
    body: bytes, pointer: str
) -> None:
    assert pointer_of(body) == pointer


@pytest.mark.parametrize("text", [r"a\u0000b", r"\ud800", r"\\u0000"])
def test_the_words_of_an_escape_are_plain_text(text: str) -> None:
    assert strict.parse(json.dumps([text]).encode()) == [text]


def test_a_pair_of_surrogates_is_one_character() -> None:
    assert strict.parse(b'"\\ud83d\\ude00"') == "\U0001f600"


@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_nesting_ends_at_64_levels(opening: bytes, closing: bytes) -> None:
    def nested(levels: int) -> bytes:
        return opening * levels + b"1" + closing * levels

    strict.parse(nested(64))
    for levels in (65, 101, 1_000, 20_000, 100_000):
        assert pointer_of(nested(levels)) == ""


def test_brackets_in_text_and_beside_each_other_are_not_nesting() -> None:
    assert strict.parse(b'["' + b"[{" * 1_000 + b'"]') == ["[{" * 1_000]
    assert strict.parse(b"[" + b"[{}]," * 1_000 + b"0]")[-1] == 0


@pytest.mark.parametrize(
    "body",
    [
        b'"' + b'\\"' * 500_000,
        b'"' * 1_000_000,
        b"[" * 1_000_000,
        b"[]" * 500_000,
        b"[" + b"[[]]," * 200_000 + b"0]",
        b'{"a":"\\u0001\\ud83d\\ude00' + b"\\ud83d\\ude00" * 80_000 + b'"}',
    ],
    ids=["escapes", "quotes", "open", "pairs", "wide", "surrogates"],
)
def test_no_body_of_the_largest_size_takes_long(body: bytes) -> None:
    began = time.process_time()
    with contextlib.suppress(InvalidJson):
        strict.parse(body)
    assert time.process_time() - began < 5  # a quadratic reading takes minutes
