"""Taking secrets out of what is logged, reported or kept: by shape, by name, and the known ones by value.

`known` holds values that no shape gives away (a provider's key, a database's password): the process
that knows them passes them in, and they are masked wherever they stand, also percent-encoded.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any, Final
from urllib.parse import quote

MASK: Final = "[redacted]"
DEPTH: Final = 16  # what lies deeper is masked whole: nothing we log is that deep
_SHORTEST: Final = 6  # a known value shorter than this would mask ordinary words

# Every pattern is linear: no nested repeat, and a fixed text to begin with.
SHAPES: Final = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*(?:-----END [A-Z ]*PRIVATE KEY-----)?"),
    re.compile(r"\btp_[A-Za-z0-9_-]{16,}"),
    re.compile(r"\bwh(?:sec|sk|pk)_[A-Za-z0-9+/=_-]{12,}"),
    re.compile(r"\bsk-[A-Za-z0-9_-]{6,}"),
    re.compile(r"\b(?:gh[opsu]|hf|xox[abps])[_-][A-Za-z0-9_-]{10,}"),
    re.compile(r"\bAKIA[0-9A-Z]{12,}"),
    re.compile(r"\bAIza[0-9A-Za-z_-]{20,}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
    re.compile(r"(?<=\bbearer )[A-Za-z0-9._~+/=-]{12,}", re.IGNORECASE),
)
# The group that comes first stays: it says what was masked.
NAMED: Final = (
    re.compile(
        r"(authorization[\"']?\s{0,3}[:=]\s{0,3}[\"']?(?:[a-z]{1,10} )?)[^\s\"',;}]+", re.IGNORECASE
    ),
    re.compile(
        r"((?:api[_-]?key|token|secret|password|passwd|signature|[?&]key)[\"']?\s{0,3}[=:]\s{0,3}[\"']?)"
        r"[^\s\"'&,;}\])]+",
        re.IGNORECASE,
    ),
    re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://[^\s:/@]{0,200}:)[^\s/@]{1,200}(?=@)", re.IGNORECASE),
)
NAMES: Final = re.compile(
    r"authorization|cookie|password|passwd|secret$|api[_-]?key$|private[_-]?key|credential|token$|signature$",
    re.IGNORECASE,
)
# Each shape and name above holds one of these, in any case. Most texts hold none, and are done in a
# microsecond instead of a hundred: every admission writes an audit entry, every attempt a line of the log.
_SUSPECTS: Final = (
    "-----begin", "tp_", "whsec_", "whsk_", "whpk_", "sk-", "xox", "akia", "aiza", "eyj", "hf_", "hf-",
    *(f"gh{kind}{mark}" for kind in "opsu" for mark in "_-"),
    "bearer", "authorization", "cookie", "credential", "passw", "secret", "token", "signature",
    *(f"{name}{mark}key" for name in ("api", "private") for mark in ("", "_", "-")), "?key", "&key", "://",
)  # fmt: skip


def suspect(text: str, spellings: Collection[str] = ()) -> bool:
    """Whether anything in this text might be a secret: then it is to be scrubbed."""
    low = text.casefold()  # as a pattern that ignores case: it knows more letters than lower() does
    return any(word in low for word in _SUSPECTS) or any(known in text for known in spellings)


def spellings(known: Collection[str]) -> frozenset[str]:
    """Known secrets in each way in which they may stand in a line of JSON."""
    return frozenset(
        spelling
        for value in known
        if len(value) >= _SHORTEST
        for spelling in (
            value, quote(value, safe=""), json.dumps(value)[1:-1],
            json.dumps(value, ensure_ascii=False)[1:-1],
        )
    )  # fmt: skip


def scrub(text: str, known: Collection[str] = ()) -> str:
    """The text with every secret in it masked."""
    for value in known:
        if len(value) >= _SHORTEST:
            text = text.replace(value, MASK).replace(quote(value, safe=""), MASK)
    if not suspect(text):
        return text
    for shape in SHAPES:
        text = shape.sub(MASK, text)
    for named in NAMED:
        text = named.sub(rf"\1{MASK}", text)
    return text


def redact(value: Any, known: Collection[str] = ()) -> Any:
    """The same plain data, with every text scrubbed and every value that a secret's name holds masked."""
    return _redact(value, known, DEPTH)


def _redact(value: Any, known: Collection[str], depth: int) -> Any:
    match value:
        case str():
            return scrub(value, known)
        case bytes():
            return MASK
        case Mapping() | list() | tuple() | set() | frozenset() if depth == 0:
            return MASK
        case Mapping():
            return {
                scrub(name, known) if isinstance(name, str) else name: (
                    MASK
                    if isinstance(name, str) and held is not None and NAMES.search(name)
                    else _redact(held, known, depth - 1)
                )
                for name, held in value.items()
            }
        case list() | tuple() | set() | frozenset():
            return [_redact(held, known, depth - 1) for held in value]
        case _:
            return value
