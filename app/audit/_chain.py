"""How links are computed: the one definition that sealing and verification share."""

import hashlib
from typing import Final
from uuid import UUID

_START: Final = b"towpath audit chain 1 "


def start(chain: UUID) -> bytes:
    """What the first link of a chain follows: bound to the chain, so links fit in no other."""
    return hashlib.sha256(_START + chain.bytes).digest()


def digest(salt: bytes, body: str) -> bytes:
    """SHA-256 of salt and body: proves the body, and tells nothing of it once the salt is erased."""
    return hashlib.sha256(salt + body.encode()).digest()


def link(previous: bytes, of_entry: bytes) -> bytes:
    """The hash of a link: SHA-256 of the hash before it and its entry's digest."""
    return hashlib.sha256(previous + of_entry).digest()
