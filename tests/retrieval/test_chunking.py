"""Chunking: passages of one section each, of a size for a prompt, with nothing lost."""

from hypothesis import given
from hypothesis import strategies as st

from app.retrieval import chunking
from app.retrieval.chunking import MAX_TOKENS, Piece
from app.retrieval.parsing import Block, Parsed


def count(texts: list[str]) -> list[int]:
    return [len(text.split()) for text in texts]


def cut(*blocks: Block) -> list[Piece]:
    return chunking.chunk(Parsed("T", list(blocks)), count)


def words(number: int, of: str = "w") -> str:
    return " ".join(f"{of}{place}" for place in range(number))


def test_a_section_is_a_passage_under_its_path() -> None:
    pieces = cut(Block(("T", "A"), "one"), Block(("T", "A"), "two"), Block(("T", "B"), "three"))
    assert pieces == [Piece("T › A", "one\ntwo", 2), Piece("T › B", "three", 1)]


def test_small_neighbours_of_different_sections_stay_apart() -> None:
    pieces = cut(*(Block(("T", name), "a few words") for name in "ABCD"))
    assert [piece.section for piece in pieces] == ["T › A", "T › B", "T › C", "T › D"]


def test_a_long_section_is_cut_between_its_blocks() -> None:
    pieces = cut(*(Block(("T",), words(70, f"b{number}_")) for number in range(4)))
    assert [piece.tokens for piece in pieces] == [140, 140]


def test_a_crumb_at_the_end_joins_what_is_before_it() -> None:
    assert [p.tokens for p in cut(Block(("T",), words(150)), Block(("T",), words(20)))] == [170]


def test_a_long_paragraph_is_cut_between_its_sentences() -> None:
    text = " ".join(f"S{number} {words(40)}." for number in range(10))
    pieces = cut(Block(("T",), text))
    assert all(piece.tokens <= MAX_TOKENS for piece in pieces)
    assert all(piece.body.startswith("S") and piece.body.endswith(".") for piece in pieces)
    assert " ".join(piece.body for piece in pieces) == text


def test_code_is_cut_between_its_lines() -> None:
    code = "\n".join(f"    line {number} {words(20)}" for number in range(30))
    pieces = cut(Block(("T",), code))
    assert "\n".join(piece.body for piece in pieces) == code


def test_a_long_definition_is_a_section_and_a_short_one_a_line() -> None:
    pieces = cut(
        Block(("T",), words(60), term="work_mem"),
        Block(("T",), "short", term="a"),
        Block(("T",), "shorter", term="b"),
    )
    assert [piece.section for piece in pieces] == ["T › work_mem", "T"]
    assert pieces[1].body == "a: short\nb: shorter"


def test_a_text_without_a_space_is_cut_all_the_same() -> None:
    def by_character(texts: list[str]) -> list[int]:
        return [len(text) for text in texts]

    pieces = chunking.chunk(Parsed("", [Block((), "x" * 1_000)]), by_character)
    assert "".join(piece.body for piece in pieces) == "x" * 1_000
    assert max(piece.tokens for piece in pieces) <= MAX_TOKENS


@given(st.lists(st.text(alphabet="ab .!?\n-", max_size=300), max_size=8))
def test_no_word_is_lost(paragraphs: list[str]) -> None:
    text = "\n\n".join(paragraphs)
    parts = chunking.split(text, count, max_tokens=20)
    assert " ".join(parts).split() == text.split()
    assert all(count([part])[0] <= 20 for part in parts)
