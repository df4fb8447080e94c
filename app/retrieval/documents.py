"""Documents of a collection: uploaded under a name, replaced under the same name, deleted."""

from collections.abc import Collection as Group
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete as delete_from
from sqlalchemy import func, literal_column, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.core import ids, lists
from app.core.errors import Invalid, NotFound, TowpathError
from app.core.ids import CollectionId, DocumentId, FileId, JobId, TenantId
from app.core.lists import Page
from app.files import store
from app.retrieval import collections, parsing
from app.retrieval.models import Chunk, Document

MAX_NAME_CHARACTERS: Final = 255
_FACTS: Final = select(
    Document.id,
    Document.collection,
    Document.name,
    Document.title,
    Document.media_type,
    Document.file,
    Document.job,
    Document.state,
    Document.error,
    Document.revision,
    Document.served,
    Document.chunks,
    Document.tokens,
    Document.created_at,
    Document.ready_at,
)


@dataclass(frozen=True, slots=True)
class DocumentFacts:
    """A document as a reader sees it; `state` is pending, ready or failed with its `error`."""

    id: DocumentId
    collection: CollectionId
    name: str
    title: str
    media_type: str
    file: FileId
    job: JobId | None
    state: str
    error: dict[str, Any] | None
    revision: int
    served: int | None
    chunks: int
    tokens: int
    created_at: datetime
    ready_at: datetime | None


async def put(
    session: AsyncSession,
    tenant: TenantId,
    collection: CollectionId,
    document: DocumentId,
    *,
    name: str,
    media_type: str,
    file: FileId,
    title: str = "",
) -> DocumentFacts:
    """A new document under an id the caller made, or the next revision of the one of that name.

    It is `pending` until it is ingested; a search goes on finding the revision before, whose bytes go.
    An empty title is filled in from the text. Raises Invalid. Locks the document, then its last file.
    """
    _check(name, media_type)
    row = {
        "id": document,
        "tenant": tenant,
        "collection": collection,
        "name": name,
        "title": title,
        "media_type": media_type,
        "file": file,
        "state": "pending",
        "created_at": func.app_now(),
    }
    new = insert(Document).values(row)
    kept = (
        await session.execute(
            new.on_conflict_do_update(
                index_elements=["collection", "name"],
                set_={
                    "title": new.excluded.title,
                    "media_type": new.excluded.media_type,
                    "file": new.excluded.file,
                    "revision": Document.revision + 1,
                    "state": "pending",
                    "error": None,
                    "job": None,
                },
            ).returning(Document.id, literal_column("old.file", Document.file.type).label("before"))
        )
    ).one()
    if kept.before is not None:
        await store.drop(session, tenant, [kept.before])
    return await get(session, tenant, kept.id)


def _check(name: str, media_type: str) -> None:
    if not 1 <= len(name) <= MAX_NAME_CHARACTERS or not name.isprintable():
        raise Invalid.at("/name", f"1 to {MAX_NAME_CHARACTERS} printable characters")
    if parsing.media_type(media_type) is None:
        known = ", ".join(sorted(parsing.MEDIA_TYPES))
        raise Invalid.at("/media_type", f"one of {known}")


async def assign(session: AsyncSession, tenant: TenantId, document: DocumentId, job: JobId) -> None:
    """Say which job ingests it."""
    await session.execute(
        update(Document).where(Document.tenant == tenant, Document.id == document).values(job=job)
    )


async def get(session: AsyncSession, tenant: TenantId, document: DocumentId) -> DocumentFacts:
    """A tenant's document. Raises NotFound."""
    row = (
        await session.execute(_FACTS.where(Document.tenant == tenant, Document.id == document))
    ).one_or_none()
    if row is None:
        raise NotFound
    return DocumentFacts(*row)


async def listed(
    session: AsyncSession,
    tenant: TenantId,
    collection: CollectionId,
    *,
    after: UUID | None = None,
    limit: int = 50,
) -> Page[DocumentFacts]:
    """The documents of a collection, newest first."""
    query = _FACTS.where(Document.tenant == tenant, Document.collection == collection)
    if after is not None:
        query = query.where(Document.id < after)
    rows = (await session.execute(query.order_by(Document.id.desc()).limit(limit + 1))).all()
    items = [DocumentFacts(*row) for row in rows[:limit]]
    return Page(items, lists.cursor(items[-1].id) if len(rows) > limit else None)


async def present(
    session: AsyncSession, tenant: TenantId, documents: Group[DocumentId]
) -> frozenset[DocumentId]:
    """Which of these are still there: an answer may cite one that was deleted while it was made."""
    rows = await session.scalars(
        select(Document.id).where(Document.tenant == tenant, Document.id.in_(documents))
    )
    return frozenset(rows)


async def delete(
    session: AsyncSession, tenant: TenantId, document: DocumentId, *, actor: trail.Actor
) -> None:
    """Remove a document with its passages and vectors; its bytes follow; the collection's version rises.

    Raises NotFound. Locks the document, its file, then its collection.
    """
    gone = (
        await session.execute(
            delete_from(Document)
            .where(Document.tenant == tenant, Document.id == document)
            .returning(Document.collection, Document.file, Document.name)
        )
    ).one_or_none()
    if gone is None:
        raise NotFound
    await store.drop(session, tenant, [gone.file])
    await collections.touch(session, gone.collection)
    entry = trail.entry(
        tenant, actor=actor, action="document.delete", object=ids.wire("doc", document),
        before={"name": gone.name, "collection": ids.wire("col", gone.collection)},
    )  # fmt: skip
    await trail.append(session, entry)


async def serve(session: AsyncSession, document: DocumentId, revision: int, *, title: str) -> bool:
    """Let searches see this revision in place of the one before, whose chunks go.

    Its chunks must all be there. False where the document was replaced or deleted meanwhile:
    nothing is changed then. Locks the document, then its collection.
    """
    facts = (
        await session.execute(
            select(func.count(), func.sum(Chunk.tokens)).where(
                Chunk.document == document, Chunk.revision == revision
            )
        )
    ).one()
    collection = await session.scalar(
        update(Document)
        .where(Document.id == document, Document.revision == revision)
        .values(
            served=revision,
            state="ready",
            error=None,
            chunks=facts[0],
            tokens=facts[1],
            title=func.coalesce(func.nullif(Document.title, ""), title),
            ready_at=func.app_now(),
        )
        .returning(Document.collection)
    )
    if collection is None:
        return False
    await session.execute(
        delete_from(Chunk).where(Chunk.document == document, Chunk.revision != revision)
    )
    await collections.touch(session, collection)
    return True


async def fail(
    session: AsyncSession, document: DocumentId, revision: int, error: TowpathError
) -> None:
    """This revision can't be read: `failed` with the reason. What was served before still is."""
    served = await session.scalar(
        update(Document)
        .where(Document.id == document, Document.revision == revision)
        .values(state="failed", error={"code": error.code, "message": error.message})
        .returning(func.coalesce(Document.served, 0))
    )
    if served is not None:
        await session.execute(
            delete_from(Chunk).where(Chunk.document == document, Chunk.revision != served)
        )
