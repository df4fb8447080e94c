"""Opaque cursors of lists: newest first, stable under inserts, since ids sort by time."""

import base64
import binascii
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Page(Generic[Item]):
    """One page: its items and the cursor of the next, or None at the end."""

    items: list[Item]
    next_cursor: str | None


def cursor(last: UUID) -> str:
    """The cursor that continues after this id."""
    return base64.urlsafe_b64encode(last.bytes).rstrip(b"=").decode()


def after(text: str) -> UUID | None:
    """The id a cursor stands for, or None where it is not one of ours."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return None
    return UUID(bytes=raw) if len(raw) == 16 else None
