"""Verification: each chain is walked from its start, and computed anew from what is stored."""

import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal
from uuid import UUID

import psycopg

from app.audit import _chain, trail
from app.core import clock, statements
from app.core.db import HOT, Database

# 1,000 links are checked in some 20 ms, which is how long the caller's loop may stand still.
PAGE: Final = 1000

_CHAINS: Final = statements.load(__file__, "verify_chains")
_PAGE: Final = statements.load(__file__, "verify_page")
_ELSEWHERE: Final = statements.load(__file__, "verify_elsewhere")
_UNCHAINED: Final = statements.load(__file__, "verify_unchained")

# A page reads its entries by primary key; a hash join would read the whole table for each page.
_SETTINGS: Final = HOT | {"enable_hashjoin": "off", "enable_mergejoin": "off"}
_LAST_SEQ: Final = 2**63 - 1

What = Literal["altered", "missing", "gap", "reordered", "inserted", "forged", "unchained"]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class FirstBad:
    """The first place of a chain that is not as it was sealed. `entry` is None where it is unknown.

    altered: the entry isn't what was sealed. missing: its row is gone. gap: links are gone.
    reordered: what stands here belongs elsewhere. inserted: a link was put in between. forged: the
    link doesn't follow from the one before it. unchained: an entry that no link holds or will hold.
    """

    seq: int | None
    entry: UUID | None
    what: What
    detail: str


@dataclass(frozen=True, slots=True)
class ChainReport:
    """What one chain holds, and the first bad entry in it. Counts are of the moment of the start."""

    chain: UUID
    entries: int
    sealed: int
    unsealed: int
    oldest_unsealed_seconds: float | None
    broken: FirstBad | None


@dataclass(slots=True)
class _Walk:
    """How far a chain has been followed."""

    chain: UUID
    name: str
    seq: int
    hash: bytes
    before: bytes  # the hash before that one: tells an inserted link from a forged one
    entry: UUID | None


async def verify(
    db: Database, chain: UUID | None = None, *, progress: Progress | None = None
) -> list[ChainReport]:
    """Recompute one chain, or all; a report for each chain that there is.

    `progress` is called with (links checked, links in all). Memory is that of one page.
    """
    first, last = (UUID(int=0), UUID(int=2**128 - 1)) if chain is None else (chain, chain)
    connection = await db.connect_hot(settings=_SETTINGS)
    try:
        cursor = await connection.execute(_CHAINS.raw, {"first": first, "last": last})
        counts = await cursor.fetchall()
        total = sum(row.sealed for row in counts)
        broken: dict[UUID, FirstBad] = {}
        checked = 0
        async for bad, links in _walk(connection, first, last):
            checked += links
            if bad is not None:
                broken[bad[0]] = bad[1]
            if progress is not None:
                progress(checked, total)
        for row in counts:
            if row.chain not in broken and row.entries != row.sealed + row.unsealed:
                unchained = await _unchained(connection, row.chain)
                if unchained is not None:
                    broken[row.chain] = unchained
    finally:
        await connection.close()
    return [_report(row, broken.get(row.chain)) for row in counts]


async def _walk(
    connection: psycopg.AsyncConnection[Any], first: UUID, last: UUID
) -> AsyncIterator[tuple[tuple[UUID, FirstBad] | None, int]]:
    """A page at a time: the first bad entry of the chain in it, if one is met, and the links read."""
    walk = _start(first)
    seen = (first, -_LAST_SEQ)
    while page := await _page(connection, seen, last):
        bad = None
        read = len(page)
        for place, row in enumerate(page, start=1):
            if row.chain != walk.chain:
                walk = _start(row.chain)
            fault = _fault(walk, row)
            if fault is not None:
                bad, read = (row.chain, await _named(connection, walk, row, fault)), place
                break
            walk.before, walk.hash, walk.seq, walk.entry = walk.hash, row.hash, row.seq, row.entry
        # What follows a bad link proves nothing: on to the next chain.
        seen = (walk.chain, walk.seq if bad is None else _LAST_SEQ)
        yield bad, read


async def _page(
    connection: psycopg.AsyncConnection[Any], seen: tuple[UUID, int], last: UUID
) -> list[Any]:
    bind = {"chain": seen[0], "seq": seen[1], "last": last, "limit": PAGE}
    return await (await connection.execute(_PAGE.raw, bind, binary=True)).fetchall()


def _start(chain: UUID) -> _Walk:
    start = _chain.start(chain)
    return _Walk(chain, trail.wire_chain(chain), 0, start, start, None)


def _fault(walk: _Walk, row: Any) -> str | None:
    """What is wrong with a link and its entry, or None: `gap`, `link`, `missing`, `digest`, a column."""
    if row.seq != walk.seq + 1:
        return "gap"
    if _chain.link(walk.hash, row.digest) != row.hash:
        return "link"
    if row.body is None:
        return "missing"
    if _chain.digest(row.salt, row.body) != row.digest:
        return "digest"
    return _column(walk, row)


def _column(walk: _Walk, row: Any) -> str | None:
    """The column that doesn't say what the sealed body says; `body` where that says nothing."""
    try:
        body = json.loads(row.body)
    except ValueError:
        return "body"
    says = {
        "id": trail.wire(row.entry),
        "chain": walk.name,
        "at": clock.wire(row.at),
        "action": row.action,
    }
    if row.entry_chain != row.chain:
        return "chain"
    if not isinstance(body, dict):
        return "body"
    return next((name for name, value in says.items() if body.get(name) != value), None)


async def _named(
    connection: psycopg.AsyncConnection[Any], walk: _Walk, row: Any, fault: str
) -> FirstBad:
    match fault:
        case "gap" if row.seq > walk.seq + 1:
            until = f" to {row.seq - 1}" if row.seq > walk.seq + 2 else ""
            return FirstBad(walk.seq + 1, None, "gap", f"no link {walk.seq + 1}{until}")
        case "gap":
            return FirstBad(row.seq, row.entry, "forged", "chains begin with link 1")
        case "missing":
            return FirstBad(row.seq, row.entry, "missing", "the entry's row is gone")
        case "link" if walk.seq > 0 and _chain.link(walk.before, row.digest) == row.hash:
            detail = f"link {row.seq} follows from {walk.seq - 1}"
            return FirstBad(walk.seq, walk.entry, "inserted", detail)
        case "link" | "digest":
            elsewhere = await _elsewhere(connection, walk, row, fault)
            if elsewhere is not None:
                detail = f"out of place with link {elsewhere}"
                return FirstBad(row.seq, row.entry, "reordered", detail)
            if fault == "digest":
                return FirstBad(
                    row.seq, row.entry, "altered", "body or salt is not what was sealed"
                )
            return FirstBad(row.seq, row.entry, "forged", f"does not follow from link {walk.seq}")
        case column:
            detail = f"column {column} is not what the sealed body says"
            return FirstBad(row.seq, row.entry, "altered", detail)


async def _elsewhere(
    connection: psycopg.AsyncConnection[Any], walk: _Walk, row: Any, fault: str
) -> int | None:
    """The other link that stands where this place's link belongs, or that this place's entry fits."""
    bind = {"chain": row.chain, "seq": row.seq, "previous": None, "hash": None, "digest": None}
    if fault == "link":
        bind |= {"previous": walk.hash, "hash": row.hash}
    else:
        bind["digest"] = _chain.digest(row.salt, row.body)
    found = await (await connection.execute(_ELSEWHERE.raw, bind)).fetchone()
    return None if found is None else int(found.seq)


async def _unchained(connection: psycopg.AsyncConnection[Any], chain: UUID) -> FirstBad | None:
    found = await (await connection.execute(_UNCHAINED.raw, {"chain": chain})).fetchone()
    return None if found is None else FirstBad(None, found.id, "unchained", "no link, not pending")


def _report(row: Any, broken: FirstBad | None) -> ChainReport:
    age = None if row.oldest is None else row.oldest.total_seconds()
    return ChainReport(row.chain, row.entries, row.sealed, row.unsealed, age, broken)
