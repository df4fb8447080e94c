"""Sealing: entries that have become visible are chained, in batches, by one sealer at a time."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import chain as joined
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row

from app.audit import _chain
from app.core import statements
from app.core.db import Database

_BEGIN: Final = statements.load(__file__, "seal_begin")
_PENDING: Final = statements.load(__file__, "seal_pending")
_HEADS: Final = statements.load(__file__, "seal_heads")
_LINK: Final = statements.load(__file__, "seal_link")

Link = tuple[UUID, int, UUID, bytes, bytes]  # chain, seq, entry, digest, hash


async def seal(db: Database, *, limit: int = 1000) -> int:
    """Chain up to `limit` pending entries in one transaction; gives how many.

    Safe to run twice and at once: a second sealer finds the first at work and gives 0. An entry that
    commits late comes later in its chain; none is skipped.
    """
    async with db.transaction() as session:
        if not (await session.execute(_BEGIN.text)).scalar_one():
            return 0
        # Read by statements of their own, after the lock: they see what the last sealer committed.
        pending = (await session.execute(_PENDING.text, {"limit": limit})).all()
        if not pending:
            return 0
        chains = sorted({row.chain for row in pending})
        heads = (await session.execute(_HEADS.text, {"chains": chains})).all()
        links = _links(pending, {row.chain: (row.seq, row.hash) for row in heads})
        names = ("chains", "seqs", "entries", "digests", "hashes")
        columns = map(list, zip(*links, strict=True))
        await session.execute(_LINK.text, dict(zip(names, columns, strict=True)))
        return len(links)


def _links(pending: Sequence[Row[Any]], heads: dict[UUID, tuple[int, bytes]]) -> list[Link]:
    of_chain: dict[UUID, list[Link]] = defaultdict(list)
    for row in pending:
        seq, previous = heads.get(row.chain) or (0, _chain.start(row.chain))
        digest = _chain.digest(row.salt, row.body)
        hash_ = _chain.link(previous, digest)
        of_chain[row.chain].append((row.chain, seq + 1, row.entry, digest, hash_))
        heads[row.chain] = (seq + 1, hash_)
    return list(joined.from_iterable(of_chain.values()))
