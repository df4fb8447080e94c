"""Hybrid search in one collection: its words and its vectors, fused by rank."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from pgvector import HalfVector
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import ids, statements
from app.core.errors import Invalid
from app.core.ids import ChunkId, CollectionId, DocumentId, TenantId
from app.retrieval.embedding import Embedder

MAX_PASSAGES: Final = 50
MAX_QUERY_CHARACTERS: Final = 4_000  # each of its words costs an index scan
DEPTH: Final = 40  # how far down each ranking the fusion looks

_SEARCH: Final = statements.load(__file__, "search")


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk that may bear on a question.

    `score` ranks within one answer only. `cosine` (-1 to 1), `coverage` (0 to 1) and `matched` (the
    weight of the question's words in it, in words that occur nowhere else) say how near it is:
    they, and no model, decide whether a question can be answered.
    """

    chunk: ChunkId
    document: DocumentId
    name: str
    title: str
    section: str
    body: str
    tokens: int
    score: float
    cosine: float
    coverage: float
    matched: float


async def search(
    session: AsyncSession,
    embedder: Embedder,
    tenant: TenantId,
    collection: CollectionId,
    query: str,
    k: int,
) -> list[Passage]:
    """The `k` best passages, best first; none where the collection is empty or not this tenant's.

    Exact: 20,000 chunks are compared in some tens of milliseconds (docs/blueprint.md, "Search").
    Raises Invalid for a query too long or with a NUL, and for a `k` outside 1 to 50.
    """
    if len(query) > MAX_QUERY_CHARACTERS or "\0" in query:
        raise Invalid.at("/query", f"1 to {MAX_QUERY_CHARACTERS} characters without NUL")
    if not 1 <= k <= MAX_PASSAGES:
        raise Invalid.at("/k", f"from 1 to {MAX_PASSAGES}")
    bind = {
        "tenant": tenant,
        "collection": collection,
        "query": query,
        "vector": HalfVector(embedder.embed([query])[0]).to_text(),
        "depth": max(DEPTH, k),
        "k": k,
    }
    return [Passage(*row) for row in await session.execute(_SEARCH.text, bind)]


def plain(passages: Sequence[Passage]) -> list[dict[str, Any]]:
    """Passages as a step keeps them: JSON, ids in their wire form."""
    return [
        {
            "chunk": ids.wire("chk", passage.chunk),
            "document": ids.wire("doc", passage.document),
            "name": passage.name,
            "title": passage.title,
            "section": passage.section,
            "body": passage.body,
            "score": round(passage.score, 6),
            "cosine": round(passage.cosine, 6),
            "coverage": round(passage.coverage, 6),
            "matched": round(passage.matched, 6),
        }
        for passage in passages
    ]
