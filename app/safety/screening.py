"""Words in a text that speak to a model instead of a reader.

A passage is data: no step does what it says, whatever it says. The flags make such passages seen,
and keep them out of the evidence; the guard itself is that a draft must rest on the evidence.
"""

import re
from typing import Final

_PATTERNS: Final = {
    "override": re.compile(
        r"\b(?:ignore|disregard|forget|override)\b[^.!?\n]{0,40}"
        r"\b(?:previous|prior|above|earlier|all|any|other|your|system)\b[^.!?\n]{0,30}"
        r"\b(?:instructions?|prompts?|rules?|directions?|messages?)\b",
        re.IGNORECASE,
    ),
    "form": re.compile(
        r"\b(?:answer|respond|reply|output|return)\b[^.!?\n]{0,20}\b(?:only|exclusively|always)\b"
        r"[^.!?\n]{0,20}\b(?:in|with|as)\b",
        re.IGNORECASE,
    ),
    "tool": re.compile(
        r"\b(?:call|invoke|use|run|execute)\s+(?:the\s+)?(?:tool\s+|function\s+)?"
        r"(?:\w+_\w+|tools?|functions?)\b[^.!?\n]{0,60}\b(?:with|and send|passing)\b",
        re.IGNORECASE,
    ),
    "prompt": re.compile(
        r"\b(?:reveal|print|repeat|send|show|leak|with)\b[^.!?\n]{0,30}\b(?:your|the)\s+"
        r"(?:system\s+prompt|hidden\s+instructions?|initial\s+instructions?)\b",
        re.IGNORECASE,
    ),
    "role": re.compile(
        r"\b(?:you are now|from now on,? you|act as (?:an?|the)|pretend (?:to be|that you))\b"
        r"|^\s*(?:system|assistant)\s*:|<\|[a-z_]+\|>|\[/?INST\]",
        re.IGNORECASE | re.MULTILINE,
    ),
}


def flags(text: str) -> list[str]:
    """The kinds of instruction found in a text, in a fixed order; empty for an ordinary text."""
    return [kind for kind, pattern in _PATTERNS.items() if pattern.search(text)]
