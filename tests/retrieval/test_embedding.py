"""Embedding: offline, of length 1, near in meaning, and never NaN."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np

from app.retrieval import embedding
from app.retrieval.embedding import DIMENSIONS, Embedder


def test_vectors_have_length_one_and_empty_texts_none(embedder: Embedder) -> None:
    vectors = embedder.embed(["a canal lock", "", " \n", "x" * 5_000])
    assert vectors.shape == (4, DIMENSIONS)
    assert np.allclose(np.linalg.norm(vectors, axis=1), [1, 0, 0, 1], atol=1e-4)
    assert embedder.embed([]).shape == (0, DIMENSIONS)


def test_a_text_embeds_the_same_in_any_company(embedder: Embedder) -> None:
    alone = embedder.embed(["a canal lock"])[0]
    among = embedder.embed(["long " * 300, "a canal lock", "x"])[1]
    assert np.allclose(alone, among, atol=1e-5)


def test_what_is_alike_is_near(embedder: Embedder) -> None:
    money, refund, bread = embedder.embed(
        ["how long until I get my money back", "refunds are paid in five days", "bake some bread"]
    )
    assert money @ refund > money @ bread + 0.2


def test_tokens_are_counted_without_padding(embedder: Embedder) -> None:
    assert embedder.count(["", "hello world", "hello " * 100]) == [0, 2, 101]
    assert embedder.count([]) == []


async def test_many_texts_embed_aside(embedder: Embedder) -> None:
    texts = [f"note {number}" for number in range(200)]
    assert np.allclose(await embedder.embed_aside(texts), embedder.embed(texts))


def test_threads_that_come_first_together_load_one_model(embedder: Embedder) -> None:
    """A model for each of them was 120 MB more in a worker whose first documents came in a group."""
    embedding._load.cache_clear()  # noqa: SLF001 - as in a process that has just begun
    together = Barrier(6)

    def first(_: int) -> int:
        together.wait()
        return id(embedder.model())

    with ThreadPoolExecutor(6) as threads:
        assert len(set(threads.map(first, range(6)))) == 1
