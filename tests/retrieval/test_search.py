"""Search: exact, by words and by meaning, within one collection of one tenant."""

from dataclasses import replace

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray
from pgvector import HalfVector
from sqlalchemy import insert, select

from app.core import ids
from app.core.errors import Invalid
from app.core.ids import ChunkId, CollectionId, DocumentId
from app.retrieval import search
from app.retrieval.models import Chunk
from tests.arrange import make_tenant
from tests.retrieval.corpus import Corpus

FACTS = """# Canals

## Locks

The staircase of locks at Foxton has ten chambers and opened in 1814.

## Licence

A boat licence costs 612 pounds a year and is renewed in April.

## Turning

Winding holes are wide places where a narrowboat can turn around.

## Money

Refunds are paid to the original card within five working days.
"""


@pytest.mark.parametrize(
    ("question", "section"),
    [
        ("When did the locks at Foxton open?", "Locks"),
        ("how can I turn my boat", "Turning"),
        ("how long until I get my money back", "Money"),
        ("price of a licence", "Licence"),
    ],
)
async def test_a_question_finds_the_section_that_answers_it(
    corpus: Corpus, question: str, section: str
) -> None:
    await corpus.add("canals.md", FACTS)
    assert (await corpus.find(question))[0].section == f"Canals › {section}"


async def test_words_and_meaning_are_measured(corpus: Corpus) -> None:
    await corpus.add("canals.md", FACTS)
    [best, *_] = await corpus.find("staircase locks Foxton")
    assert best.coverage == pytest.approx(1)
    assert best.matched > 2
    assert best.cosine > 0.5
    [far, *_] = await corpus.find("zebra crossing quantum")
    assert (far.coverage, far.matched) == (0, 0)


async def test_coverage_falls_with_a_word_that_is_nowhere(corpus: Corpus) -> None:
    await corpus.add("canals.md", FACTS)
    known = (await corpus.find("licence"))[0].coverage
    half = (await corpus.find("licence zebra"))[0].coverage
    assert known == pytest.approx(1)
    assert half < 0.6


@pytest.mark.parametrize(
    "query",
    [
        "",
        "   ",
        "the of and",
        "'); DROP TABLE chunk; --",
        "a:b & (c | !d) <-> \\",
        "💥 ' \" \\",
        "x" * 4_000,
    ],
)
async def test_any_text_is_a_query(corpus: Corpus, query: str) -> None:
    await corpus.add("canals.md", FACTS)
    for found in await corpus.find(query):
        assert 0 <= found.coverage <= 1
        assert np.isfinite([found.score, found.cosine, found.matched]).all()


@pytest.mark.parametrize(("query", "k"), [("x" * 4_001, 3), ("a\0b", 3), ("x", 0), ("x", 51)])
async def test_what_is_no_query_is_refused(corpus: Corpus, query: str, k: int) -> None:
    with pytest.raises(Invalid):
        await corpus.find(query, k)


def test_passages_are_kept_as_json() -> None:
    chunk, document = ChunkId(ids.new()), DocumentId(ids.new())
    passage = search.Passage(
        chunk,
        document,
        "a.md",
        "A",
        "A › B",
        "text",
        1,
        0.03,
        0.5,
        1.0,
        2.0,
    )
    [plain] = search.plain([passage])
    assert (plain["chunk"], plain["document"]) == (
        ids.wire("chk", chunk),
        ids.wire("doc", document),
    )
    assert plain["section"] == "A › B"


async def fill(corpus: Corpus, vectors: NDArray[np.float32], *, start: int = 0) -> None:
    """Chunks with these vectors in one served document."""
    document = await corpus.add(f"bulk{start}.md", "# Bulk\n\nseed\n")
    async with corpus.db.transaction() as session:
        rows = [
            {
                "id": ChunkId(ids.new()), "tenant": corpus.tenant, "collection": corpus.collection,
                "document": document, "revision": 1, "ordinal": start + place + 1, "section": "Bulk",
                "body": f"note {start + place}", "tokens": 2, "embedding": HalfVector(vector),
            }
            for place, vector in enumerate(vectors)
        ]  # fmt: skip
        await session.execute(insert(Chunk), rows)


def unit(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths: NDArray[np.float32] = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return rows / lengths


async def test_c094_a_small_collection_beside_a_large_one_is_searched_exactly(
    corpus: Corpus, admin: psycopg.Connection
) -> None:
    """Rows that are asked for come back, the nearest ones, however many others there are."""
    rng = np.random.default_rng(7)
    other = make_tenant(admin, "other")
    crowd_id = CollectionId(ids.new())
    admin.execute(
        "INSERT INTO collection (id, tenant, name, created_at) VALUES (%s, %s, 'crowd', app_now())",
        (crowd_id, other),
    )
    crowd = replace(corpus, tenant=other, collection=crowd_id)
    await fill(crowd, unit(rng.normal(size=(2_000, 256)).astype(np.float32)))
    mine = unit(rng.normal(size=(30, 256)).astype(np.float32))
    await fill(corpus, mine)
    admin.execute("ANALYZE chunk")
    for number in range(100):
        query = f"zebra{number}"
        found = await corpus.find(query, 10)
        assert len(found) == 10
        async with corpus.db.transaction() as session:
            exact = await session.scalars(
                select(Chunk.id)
                .where(Chunk.collection == corpus.collection)
                .order_by(
                    Chunk.embedding.cosine_distance(HalfVector(corpus.embedder.embed([query])[0]))
                )
                .limit(10)
            )
            assert [passage.chunk for passage in found] == list(exact)
