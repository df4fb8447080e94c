"""Sentences: abbreviations, items, rows and code are not cut, and nothing is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.safety import sentences


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ("See e.g. Fig. 2 vs. Fig. 3. Then go.", ["See e.g. Fig. 2 vs. Fig. 3.", "Then go."]),
        ("Use No. 5. No. The key is lost.", ["Use No. 5.", "No.", "The key is lost."]),
        ("It takes 1.5 s, v1.2 too. Fine.", ["It takes 1.5 s, v1.2 too.", "Fine."]),
        ("J. K. Rowling wrote. Dr. Who did.", ["J. K. Rowling wrote.", "Dr. Who did."]),
        ('He said "stop." Then he left.', ['He said "stop."', "Then he left."]),
        ("It ends. `max_cost` is set. max_cost holds.", ["It ends.", "`max_cost` is set.", "max_cost holds."]),
        ("Why? he asked. Wait… what", ["Why? he asked.", "Wait… what"]),
        ("At 5 p.m. the gate closes. At 5 p.m. The gate", ["At 5 p.m. the gate closes.", "At 5 p.m.", "The gate"]),
    ],
)  # fmt: skip
def test_sentences_end_where_a_reader_ends_them(text: str, parts: list[str]) -> None:
    assert sentences.split(text) == parts


def test_lines_never_flow_together() -> None:
    text = "lead\n- one. Two\n1. first\n2. second\nname: a; unit: s"
    assert sentences.split(text) == [
        "lead", "- one.", "Two", "1. first", "2. second", "name: a; unit: s",
    ]  # fmt: skip


def test_code_is_one_piece_with_its_blank_lines() -> None:
    assert sentences.split("Run:\n    a. B\n\n    c. D\nDone.") == [
        "Run:",
        "    a. B\n\n    c. D",
        "Done.",
    ]


@given(st.text(alphabet="aB1 .?!\n-\"'`", max_size=200))
def test_no_word_is_lost(text: str) -> None:
    assert " ".join(sentences.split(text)).split() == text.split()
