"""Ids: UUIDv7, so they sort by time, each kind a type of its own, prefixed on the wire.

The wire form is the prefix and 26 digits of Crockford's base 32, lower case:
`job_01kb…`. Source: RFC 9562 section 5.7 (UUIDv7); the alphabet is Crockford's.
"""

from datetime import datetime
from typing import Final, NewType
from uuid import UUID

import uuid_utils.compat

TenantId = NewType("TenantId", UUID)
KeyId = NewType("KeyId", UUID)
JobId = NewType("JobId", UUID)
AttemptId = NewType("AttemptId", UUID)
WorkerId = NewType("WorkerId", UUID)
StepId = NewType("StepId", UUID)
VersionId = NewType("VersionId", UUID)
EventId = NewType("EventId", UUID)
EndpointId = NewType("EndpointId", UUID)
DeliveryId = NewType("DeliveryId", UUID)
SecretId = NewType("SecretId", UUID)
FileId = NewType("FileId", UUID)
CollectionId = NewType("CollectionId", UUID)
DocumentId = NewType("DocumentId", UUID)
ChunkId = NewType("ChunkId", UUID)
AccountId = NewType("AccountId", UUID)
HoldId = NewType("HoldId", UUID)
PriceId = NewType("PriceId", UUID)
LineId = NewType("LineId", UUID)
EntryId = NewType("EntryId", UUID)
ScheduleId = NewType("ScheduleId", UUID)
RunId = NewType("RunId", UUID)
ToolCallId = NewType("ToolCallId", UUID)

KINDS: Final = (
    TenantId, KeyId, JobId, AttemptId, WorkerId, StepId, VersionId, EventId, EndpointId, DeliveryId,
    SecretId, FileId, CollectionId, DocumentId, ChunkId, AccountId, HoldId, PriceId, LineId, EntryId,
    ScheduleId, RunId, ToolCallId,
)  # fmt: skip

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_VALUE: Final = {digit: value for value, digit in enumerate(_ALPHABET)}
_DIGITS: Final = 26
_PAIRS: Final = tuple(high + low for high in _ALPHABET for low in _ALPHABET)


def new() -> UUID:
    """A fresh UUIDv7. Wrap it in its kind: `JobId(ids.new())`."""
    return uuid_utils.compat.uuid7()


def derived(moment: datetime, seed: bytes) -> UUID:
    """The UUIDv7 of this moment whose other bits are the seed's first ten bytes: the same for the same."""
    milliseconds = int(moment.timestamp() * 1000) & (1 << 48) - 1
    number = milliseconds << 80 | int.from_bytes(seed[:10], "big")
    # UUID(version=7) is for Python 3.14 and later.
    number = number & ~(0xF << 76) & ~(0b11 << 62) | 7 << 76 | 0b10 << 62
    return UUID(int=number)


def wire(prefix: str, value: UUID) -> str:
    """The public form: `wire("job", id)` gives `job_01…`."""
    number = value.int
    # Two digits at a time: every admission writes five ids.
    digits = [_PAIRS[(number >> shift) & 1023] for shift in range(120, -1, -10)]
    return f"{prefix}_{''.join(digits)}"


def parse(prefix: str, text: str) -> UUID | None:
    """The id behind a public form, or None where the text is not one of this kind."""
    head, _, digits = text.partition("_")
    if head != prefix or len(digits) != _DIGITS or digits[0] > "7":
        return None
    number = 0
    for digit in digits:
        value = _VALUE.get(digit)
        if value is None:
            return None
        number = number << 5 | value
    return UUID(int=number)
