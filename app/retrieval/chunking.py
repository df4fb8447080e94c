"""Documents cut into passages along their structure: never across a section, counted in tokens."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Final

from app.retrieval.parsing import Block, Parsed
from app.safety import sentences

JOINT: Final = " › "
TARGET_TOKENS: Final = 150  # a small model answers best from one short passage
MAX_TOKENS: Final = 190
SMALL_TOKENS: Final = 45  # what is smaller joins a neighbour of its section, where one has room

Count = Callable[[list[str]], list[int]]


@dataclass(frozen=True, slots=True)
class Piece:
    """A passage before it has an id: `section` is the path of headings, joined by " › "."""

    section: str
    body: str
    tokens: int


def chunk(parsed: Parsed, count: Count) -> list[Piece]:
    """The passages of a document, in order. `count` gives the tokens of each of several texts."""
    blocks = _with_terms(parsed.blocks, count)
    pieces: list[Piece] = []
    for path, group in groupby(blocks, key=lambda block: block.path):
        section = JOINT.join(path)
        texts = [block.text for block in group]
        pieces += [Piece(section, body, tokens) for body, tokens in _pack(texts, count)]
    return pieces


def split(text: str, count: Count, *, max_tokens: int) -> list[str]:
    """A long text as parts of at most `max_tokens`, cut between paragraphs, else between sentences."""
    paragraphs = [line.strip("\n") for line in text.split("\n\n")]
    packed = _pack(paragraphs, count, target=max_tokens, most=max_tokens)
    return [body for body, _ in packed]


def _with_terms(blocks: Sequence[Block], count: Count) -> Iterator[Block]:
    """A long definition is a section under its term; in a short one the term leads the text."""
    for (_, term), group in groupby(blocks, key=lambda block: (block.path, block.term)):
        run = list(group)
        if not term:
            yield from run
        elif sum(count([block.text for block in run])) > SMALL_TOKENS:
            yield from (replace(block, path=(*block.path, term)) for block in run)
        else:
            yield replace(run[0], text=f"{term}: {' '.join(block.text for block in run)}")


def _pack(
    texts: Iterable[str], count: Count, *, target: int = TARGET_TOKENS, most: int = MAX_TOKENS
) -> list[tuple[str, int]]:
    """Blocks of one section put together, up to `target` tokens; a last crumb joins if it fits `most`."""
    units = list(_units([text for text in texts if text.strip()], count, most))
    packed: list[tuple[str, int]] = []
    for text, tokens, joint in units:
        last_text, last_tokens = packed[-1] if packed else ("", most)
        room = most if tokens <= SMALL_TOKENS or last_tokens <= SMALL_TOKENS else target
        if packed and last_tokens + tokens <= room:
            packed[-1] = (f"{last_text}{joint}{text}", last_tokens + tokens)
        else:
            packed.append((text, tokens))
    return packed


def _units(texts: list[str], count: Count, most: int) -> Iterator[tuple[str, int, str]]:
    """Each block, or the sentences of one too long, with its tokens and what joins it to the last."""
    for text, tokens in zip(texts, count(texts), strict=True):
        if tokens <= most:
            yield text, tokens, "\n"
            continue
        joint = "\n"
        for part in _parts(text):
            yield from ((piece, size, joint) for piece, size in _fitting(part, count, most))
            joint = "\n" if "\n" in text else " "


def _parts(text: str) -> list[str]:
    return text.split("\n") if text.startswith("    ") else sentences.split(text)


def _fitting(text: str, count: Count, most: int) -> Iterator[tuple[str, int]]:
    """Halves of a sentence too long, at white space where there is any, until each fits."""
    ahead = [text]
    while ahead:
        part = ahead.pop()
        [tokens] = count([part])
        if tokens <= most or len(part) < 2:
            yield part, tokens
            continue
        middle = len(part) // 2
        space = part.rfind(" ", 1, middle)
        cut = space if space > len(part) // 4 else middle
        ahead += [part[cut:].lstrip(" "), part[:cut]]
