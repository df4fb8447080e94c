"""The real model that embeds: the rules are fitted to it."""

import pytest

from app.retrieval import embedding
from app.safety.passages import Embed


@pytest.fixture(scope="session")
def embed() -> Embed:
    return embedding.open_embedder().embed
