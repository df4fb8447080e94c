"""Tables of collections, documents and chunks with their embeddings."""

from datetime import datetime
from typing import Any

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    CheckConstraint,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import TSVECTOR
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, no_json_null
from app.core.ids import ChunkId, CollectionId, DocumentId, FileId, JobId, TenantId

DIMENSIONS = 256


class Collection(Base):
    """A tenant's corpus. Its version rises with every change of its documents."""

    __tablename__ = "collection"
    __table_args__ = (UniqueConstraint("tenant", "id"), UniqueConstraint("tenant", "name"))

    id: Mapped[CollectionId] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId] = mapped_column(ForeignKey("tenant.id"))
    name: Mapped[str]
    version: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime]


class Document(Base):
    """One source text in a collection, by the tenant's name for it.

    `revision` counts what was uploaded under this name; `served` is the one that a search sees.
    """

    __tablename__ = "document"
    __table_args__ = (
        UniqueConstraint("tenant", "id"),
        UniqueConstraint("collection", "name"),
        ForeignKeyConstraint(["tenant", "collection"], ["collection.tenant", "collection.id"]),
        ForeignKeyConstraint(["tenant", "file"], ["file.tenant", "file.id"]),
        ForeignKeyConstraint(["tenant", "job"], ["job.tenant", "job.id"]),
        CheckConstraint("state IN ('pending', 'ready', 'failed')", name="state_known"),
        CheckConstraint(
            "state <> 'ready' OR (chunks > 0 AND served IS NOT DISTINCT FROM revision)",
            name="ready_is_served",
        ),
        CheckConstraint("(error IS NOT NULL) = (state = 'failed')", name="fails_with_a_reason"),
        no_json_null("error"),
        Index("document_of_file", "file"),
        Index("document_of_job", "job"),
    )

    id: Mapped[DocumentId] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId]
    collection: Mapped[CollectionId]
    name: Mapped[str]
    title: Mapped[str]
    media_type: Mapped[str]
    file: Mapped[FileId]
    job: Mapped[JobId | None]  # the job that ingests it
    state: Mapped[str]
    error: Mapped[dict[str, Any] | None]
    revision: Mapped[int] = mapped_column(server_default="1")
    served: Mapped[int | None]
    chunks: Mapped[int] = mapped_column(server_default="0")  # of the revision served, as are tokens
    tokens: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime]
    ready_at: Mapped[datetime | None]


class Chunk(Base):
    """A passage: a piece of one section of one revision, small enough for a prompt."""

    __tablename__ = "chunk"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant", "document"], ["document.tenant", "document.id"], ondelete="CASCADE"
        ),
        ForeignKeyConstraint(["tenant", "collection"], ["collection.tenant", "collection.id"]),
        UniqueConstraint("document", "revision", "ordinal"),
        Index("chunk_of_collection", "collection"),
        Index("chunk_words", "words", postgresql_using="gin"),
    )

    id: Mapped[ChunkId] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId]
    collection: Mapped[CollectionId]
    document: Mapped[DocumentId]
    revision: Mapped[int]
    ordinal: Mapped[int]
    section: Mapped[str]  # the headings above it, joined by " › "
    body: Mapped[str]
    tokens: Mapped[int]
    embedding: Mapped[Any] = mapped_column(HALFVEC(DIMENSIONS))
    words: Mapped[Any] = mapped_column(
        TSVECTOR,
        Computed(
            "setweight(to_tsvector('english', section), 'A') || setweight(to_tsvector('english', body), 'B')",
            persisted=True,
        ),
    )
