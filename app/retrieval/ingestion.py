"""Ingestion: a document's bytes become passages with vectors, in batches that survive a crash."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from pgvector import HalfVector
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import ids
from app.core.db import Database
from app.core.ids import ChunkId, DocumentId, TenantId
from app.files import store
from app.files.store import Store
from app.retrieval import chunking, documents, parsing
from app.retrieval.chunking import Piece
from app.retrieval.documents import DocumentFacts
from app.retrieval.embedding import Embedder
from app.retrieval.errors import DocumentEmpty, DocumentUnreadable
from app.retrieval.models import Chunk, Document

BATCH: Final = 128  # chunks a commit: what a crash makes again

Progress = Callable[[int, int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Ingested:
    """How it ended. `superseded`: a newer upload took over, or the document is gone."""

    revision: int
    chunks: int
    tokens: int
    embedded: int  # the rest was there from a try before
    superseded: bool = False


async def ingest(
    db: Database,
    shelf: Store,
    embedder: Embedder,
    tenant: TenantId,
    document: DocumentId,
    progress: Progress | None = None,
) -> Ingested:
    """Make the newest revision of a document searchable; searches change over in one commit.

    Safe to run again, and twice at once: chunks that are there are not made again. `progress` hears
    (chunks done, chunks in all) after each batch. Raises NotFound, DocumentEmpty,
    DocumentUnreadable; the last two leave the document `failed`, with its last revision served.
    """
    async with db.transaction() as session:
        facts = await documents.get(session, tenant, document)
        if facts.served == facts.revision:
            return Ingested(facts.revision, facts.chunks, facts.tokens, 0)
        data = await store.get(session, shelf, tenant, facts.file)
    try:
        title, pieces = await asyncio.to_thread(_pieces, data, facts, embedder)
    except (DocumentEmpty, DocumentUnreadable) as error:
        async with db.transaction() as session:
            await documents.fail(session, document, facts.revision, error)
        raise
    embedded = await _store_pieces(db, embedder, tenant, facts, pieces, progress)
    tokens = sum(piece.tokens for piece in pieces)
    served = False
    if embedded is not None:
        async with db.transaction() as session:
            served = await documents.serve(
                session, document, facts.revision, title=title or facts.name
            )
    return Ingested(facts.revision, len(pieces), tokens, embedded or 0, superseded=not served)


def _pieces(data: bytes, facts: DocumentFacts, embedder: Embedder) -> tuple[str, list[Piece]]:
    parsed = parsing.parse(data, facts.media_type)
    pieces = chunking.chunk(parsed, embedder.count)
    if not pieces:
        raise DocumentEmpty(document=ids.wire("doc", facts.id))
    return parsed.title, pieces


async def _store_pieces(
    db: Database,
    embedder: Embedder,
    tenant: TenantId,
    facts: DocumentFacts,
    pieces: list[Piece],
    progress: Progress | None,
) -> int | None:
    """Chunks embedded and stored now, or None where another revision has taken over."""
    async with db.transaction() as session:
        there = set(
            await session.scalars(
                select(Chunk.ordinal).where(
                    Chunk.document == facts.id, Chunk.revision == facts.revision
                )
            )
        )
    missing = [ordinal for ordinal in range(len(pieces)) if ordinal not in there]
    for start in range(0, len(missing), BATCH):
        batch = missing[start : start + BATCH]
        rows = await _rows(embedder, tenant, facts, [(n, pieces[n]) for n in batch])
        async with db.transaction() as session:
            if not await _still_wanted(session, facts):
                return None
            await session.execute(insert(Chunk).on_conflict_do_nothing(), rows)
        if progress is not None:
            await progress(len(pieces) - len(missing) + start + len(batch), len(pieces))
    return len(missing)


async def _rows(
    embedder: Embedder, tenant: TenantId, facts: DocumentFacts, pieces: list[tuple[int, Piece]]
) -> list[dict[str, Any]]:
    texts = [f"{piece.section}\n{piece.body}" for _, piece in pieces]
    vectors = await embedder.embed_aside(texts)
    return [
        {
            "id": ChunkId(ids.new()),
            "tenant": tenant,
            "collection": facts.collection,
            "document": facts.id,
            "revision": facts.revision,
            "ordinal": ordinal,
            "section": piece.section or facts.title or facts.name,
            "body": piece.body,
            "tokens": piece.tokens,
            "embedding": HalfVector(vector),
        }
        for (ordinal, piece), vector in zip(pieces, vectors, strict=True)
    ]


async def _still_wanted(session: AsyncSession, facts: DocumentFacts) -> bool:
    """Hold the document at its revision while a batch is stored."""
    row = await session.scalar(
        select(Document.id)
        .where(Document.id == facts.id, Document.revision == facts.revision)
        .with_for_update(read=True)
    )
    return row is not None
