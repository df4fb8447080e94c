"""Strict JSON: what two parsers could read differently, or Postgres can't hold, is refused with a pointer.

Source: RFC 8259 section 4 (names should be unique), section 6 (no NaN), section 8 (encoding).
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from app.api.errors import InvalidJson

MAX_DEPTH: Final = 64

# Possessive, and the closing quote optional: linear on every input, also on a string that never ends.
_STRING: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_ONE_KIND: Final = bytes.maketrans(b"[]{}", b"()()")
# Only a body with one of these escapes can hold a NUL or half a surrogate pair; few do.
_SUSPICIOUS: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_LONE_SURROGATE: Final = re.compile("[\ud800-\udfff]")  # pairs were joined by the parser

# Enough for every number that a double holds; Python refuses 4,301 digits with an error of its own.
MAX_DIGITS: Final = 400


@dataclass(frozen=True, slots=True)
class _Fault:
    """Stands in the parsed tree where something is wrong, so that a walk finds its pointer."""

    message: str


class _Refused(Exception):  # private: it only carries control from a parser's hook to `parse`
    """A hook met something; the second, slower reading finds where."""


def parse(body: bytes) -> Any:
    """The value of a JSON body. Raises InvalidJson."""
    _check_depth(body)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise InvalidJson(f"The body isn't UTF-8: byte {error.start} can't be read.") from None
    try:
        value = _FAST.decode(text)
    except _Refused:
        _refuse(text)
    except json.JSONDecodeError as error:
        raise InvalidJson(f"{error.msg} (line {error.lineno}, column {error.colno}).") from None
    if _SUSPICIOUS.search(body):
        for fault, pointer in _faults(value, ""):
            raise InvalidJson(fault, pointer)
    return value


def _check_depth(body: bytes) -> None:
    """Refuse what is nested too deep before any parser recurses into it."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    brackets = _STRING.sub(b"", body).translate(_ONE_KIND, _NOT_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            return
        brackets = brackets.replace(b"()", b"")  # one level: the innermost pairs
    if brackets:
        raise InvalidJson(f"Nested deeper than {MAX_DEPTH} levels, or its brackets don't match.")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Refused
    return members


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise _Refused
    return number


def _int(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise _Refused
    return int(text)


def _constant(text: str) -> NoReturn:
    raise _Refused


_FAST: Final = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_float, parse_int=_int, parse_constant=_constant
)


def _marking_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members: dict[str, Any] = {}
    for name, value in pairs:
        members[name] = _Fault("The name stands twice.") if name in members else value
    return members


def _marking_float(text: str) -> float | _Fault:
    number = float(text)
    return _Fault("The number is too large.") if math.isinf(number) else number


def _marking_int(text: str) -> int | _Fault:
    return _Fault("The number is too large.") if len(text) > MAX_DIGITS else int(text)


def _marking_constant(text: str) -> _Fault:
    return _Fault(f"{text} isn't JSON.")


_MARKING: Final = json.JSONDecoder(
    object_pairs_hook=_marking_object,
    parse_float=_marking_float,
    parse_int=_marking_int,
    parse_constant=_marking_constant,
)


def _refuse(text: str) -> NoReturn:
    try:
        value = _MARKING.decode(text)
    except json.JSONDecodeError as error:  # a second fault, further on
        raise InvalidJson(f"{error.msg} (line {error.lineno}, column {error.colno}).") from None
    for message, pointer in _faults(value, ""):
        raise InvalidJson(message, pointer)
    raise AssertionError("the second reading found nothing")


def _faults(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Every fault of a parsed value with its pointer. Recursion is bounded by MAX_DEPTH."""
    match value:
        case _Fault():
            yield value.message, pointer
        case str():
            yield from _text_faults(value, pointer)
        case dict():
            for name, member in value.items():
                for message, _ in _text_faults(name, ""):
                    yield f"In a name: {message}", _readable(pointer)
                yield from _faults(member, f"{pointer}/{escape(name)}")
        case list():
            for place, member in enumerate(value):
                yield from _faults(member, f"{pointer}/{place}")


def _text_faults(text: str, pointer: str) -> Iterator[tuple[str, str]]:
    if "\x00" in text:
        yield "A NUL character can't be stored.", _readable(pointer)
    if _LONE_SURROGATE.search(text):
        yield "Half of a surrogate pair isn't text.", _readable(pointer)


def _readable(pointer: str) -> str:
    """A pointer that can be sent: what made a name unfit is replaced."""
    return pointer.encode("utf-8", "replace").decode().replace("\x00", "?")


def escape(part: str) -> str:
    """One part of a JSON Pointer (RFC 6901)."""
    return part.replace("~", "~0").replace("/", "~1")
