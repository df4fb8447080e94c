"""Where a call stands in its caller's trace. Source: W3C Trace Context, section 3.2."""

import re
import secrets
from typing import Final

# Version ff is forbidden, ids of zeros are invalid.
_TRACEPARENT: Final = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?P<trace>(?!0{32})[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-(?P<flags>[0-9a-f]{2})"
)
_KNOWN_FLAGS: Final = 0b11  # sampled, random trace id; others must be sent as zero
_PARENT_BYTES: Final = 8


def valid(traceparent: str) -> str | None:
    """This `traceparent`, or None where it isn't one: then it is ignored, as the standard asks."""
    return traceparent if _TRACEPARENT.fullmatch(traceparent) else None


def child(traceparent: str) -> str:
    """The `traceparent` of a call made within this one: the same trace, a parent id of its own."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        raise ValueError("not a traceparent: `valid` says which are")
    flags = int(found["flags"], 16) & _KNOWN_FLAGS
    # Zero, which the standard forbids, comes once in 2**64.
    parent = secrets.token_bytes(_PARENT_BYTES).hex()
    return f"00-{found['trace']}-{parent}-{flags:02x}"
