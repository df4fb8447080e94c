"""A collection that a test fills and searches, each call in a transaction of its own."""

from dataclasses import dataclass

from sqlalchemy import func, select

from app.audit.trail import Actor
from app.core import ids
from app.core.db import Database
from app.core.ids import CollectionId, DocumentId, TenantId
from app.files import store
from app.files.store import Store
from app.retrieval import collections, documents, ingestion, search
from app.retrieval.documents import DocumentFacts
from app.retrieval.embedding import Embedder
from app.retrieval.ingestion import Ingested, Progress
from app.retrieval.models import Chunk
from app.retrieval.search import Passage

ACTOR = Actor("operator", "ada")


@dataclass(frozen=True)
class Corpus:
    db: Database
    shelf: Store
    embedder: Embedder
    tenant: TenantId
    collection: CollectionId

    async def put(
        self, name: str, text: str | bytes, media_type: str = "text/markdown"
    ) -> DocumentId:
        data = text.encode() if isinstance(text, str) else text
        async with self.db.transaction() as session:
            file = await store.put(session, self.shelf, self.tenant, data, media_type, "document")
            facts = await documents.put(
                session, self.tenant, self.collection, DocumentId(ids.new()),
                name=name, media_type=media_type, file=file,
            )  # fmt: skip
        return facts.id

    async def ingest(self, document: DocumentId, progress: Progress | None = None) -> Ingested:
        return await ingestion.ingest(
            self.db, self.shelf, self.embedder, self.tenant, document, progress
        )

    async def add(
        self, name: str, text: str | bytes, media_type: str = "text/markdown"
    ) -> DocumentId:
        document = await self.put(name, text, media_type)
        await self.ingest(document)
        return document

    async def get(self, document: DocumentId) -> DocumentFacts:
        async with self.db.transaction() as session:
            return await documents.get(session, self.tenant, document)

    async def delete(self, document: DocumentId) -> None:
        async with self.db.transaction() as session:
            await documents.delete(session, self.tenant, document, actor=ACTOR)

    async def find(self, query: str, k: int = 5) -> list[Passage]:
        async with self.db.transaction() as session:
            return await search.search(
                session, self.embedder, self.tenant, self.collection, query, k
            )

    async def version(self) -> int:
        async with self.db.transaction() as session:
            return (await collections.get(session, self.tenant, "handbook")).version

    async def chunks(self) -> int:
        """Rows of chunks in the whole database, served or not."""
        async with self.db.transaction() as session:
            return await session.scalar(select(func.count()).select_from(Chunk)) or 0
