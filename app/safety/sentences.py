"""Text as sentences: a list item's, a table row and a piece of code are kept apart."""

import re
from typing import Final

# Where a sentence may end: a mark, closing quotes, white space, and what may begin the next.
_END: Final = re.compile(r"[.!?…][\"'”’)\]]*\s+(?=[\"'“‘(\[<$/`*-]*\w)")
_LABEL: Final = re.compile(r"\s*(?:[-*•–]|\d{1,3}[.)])\s+")
_WORD: Final = re.compile(r"([\w&-]+(?:\.[\w&-]+)*)$")
_CODE_INDENT: Final = "    "

# A full stop after these ends nothing, …
_GOES_ON: Final = frozenset(
    {"e.g", "i.e", "cf", "vs", "mr", "mrs", "ms", "dr", "prof", "fig", "figs", "nos", "vol", "eq"}
    | {"approx", "resp", "incl", "esp", "ca", "pp", "st"}
)
# … after these it does where a capital follows.
_MAY_END: Final = frozenset(
    {"no", "etc", "inc", "ltd", "co", "a.m", "p.m", "al", "jr", "sr", "sec"}
)


def split(text: str) -> list[str]:
    """The sentences of a text, in order, without white space around them.

    Lines never flow together: parsed text has a paragraph, an item or a row in a line, and code is
    lines that are indented by four, kept as one piece.
    """
    found: list[str] = []
    code: list[str] = []
    for line in text.split("\n"):
        if line.startswith(_CODE_INDENT) or (code and not line.strip()):
            code.append(line)
            continue
        _end_code(code, found)
        found += _split_line(line.strip())
    _end_code(code, found)
    return found


def _end_code(code: list[str], found: list[str]) -> None:
    text = "\n".join(code).rstrip()
    code.clear()
    if text:
        found.append(text)


def _split_line(line: str) -> list[str]:
    label = _LABEL.match(line)
    start = 0
    parts: list[str] = []
    for end in _END.finditer(line, label.end() if label else 0):
        if _ends(line[start : end.start()], line[end.start()], line[end.end()]):
            parts.append(line[start : end.end()].strip())
            start = end.end()
    parts.append(line[start:])
    return [part for part in parts if part]


def _ends(before: str, mark: str, following: str) -> bool:
    if mark != ".":
        return not following.islower()  # "Why? he asked." is one sentence
    found = _WORD.search(before)
    word = found.group(1) if found else ""
    if word.lower() in _GOES_ON or (len(word) == 1 and word.isupper() and following.isupper()):
        return False  # an abbreviation, or the initial of a name
    return word.lower() not in _MAY_END or following.isupper()
