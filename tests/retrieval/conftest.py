"""A corpus to fill: the model that embeds, a shelf for bytes, a collection."""

from pathlib import Path

import pytest

from app.core import ids
from app.core.db import Database
from app.core.ids import CollectionId, TenantId
from app.files import store
from app.files.store import Store
from app.retrieval import collections, embedding
from app.retrieval.embedding import Embedder
from tests.retrieval.corpus import Corpus


@pytest.fixture(scope="session")
def embedder() -> Embedder:
    return embedding.open_embedder()


@pytest.fixture
def shelf(tmp_path: Path) -> Store:
    return store.open_store(tmp_path / "files")


@pytest.fixture
async def corpus(db: Database, shelf: Store, embedder: Embedder, tenant: TenantId) -> Corpus:
    """An empty collection of the tenant, committed."""
    async with db.transaction() as session:
        made = await collections.create(session, tenant, CollectionId(ids.new()), "handbook")
    return Corpus(db, shelf, embedder, tenant, made.id)
