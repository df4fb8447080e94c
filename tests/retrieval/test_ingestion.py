"""Ingestion: all of a document or none of it is seen, and nothing is done twice."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from app.core import ids
from app.core.errors import NotFound
from app.core.ids import DocumentId
from app.retrieval.embedding import Embedder, Vectors
from app.retrieval.errors import DocumentEmpty, DocumentUnreadable
from tests.retrieval.corpus import Corpus

SECTIONS = 300  # more than two batches


def long_text(word: str) -> str:
    parts = [
        f"## Part {number}\n\nThe {word} of part {number} is kept here.\n"
        for number in range(SECTIONS)
    ]
    return f"# Long\n\n{''.join(parts)}"


class Stopped(Exception):
    pass


async def stop_half_way(done: int, total: int) -> None:
    if done * 2 >= total:
        raise Stopped


@dataclass
class Counting:
    """A model that remembers how many texts it has embedded."""

    model: Any
    texts: int = field(default=0)

    def embed(self, texts: list[str], **options: Any) -> Vectors:
        self.texts += len(texts)
        vectors: Vectors = self.model.embed(texts, **options)
        return vectors

    def tokenize(self, texts: list[str]) -> Any:
        return self.model.tokenize(texts)


async def test_a_document_becomes_ready_with_its_passages(corpus: Corpus) -> None:
    document = await corpus.put("lease.md", "# Leases\n\nA lease lasts six seconds.\n")
    assert (await corpus.get(document)).state == "pending"
    made = await corpus.ingest(document)
    facts = await corpus.get(document)
    assert (facts.state, facts.title, facts.chunks, facts.tokens) == (
        "ready", "Leases", 1, made.tokens,
    )  # fmt: skip
    assert (made.chunks, made.embedded, made.superseded) == (1, 1, False)
    assert await corpus.version() == 1
    [passage] = await corpus.find("how long is a lease")
    assert (passage.name, passage.section, passage.body) == (
        "lease.md", "Leases", "A lease lasts six seconds.",
    )  # fmt: skip


async def test_progress_is_told_after_each_batch(corpus: Corpus) -> None:
    heard: list[tuple[int, int]] = []

    async def progress(done: int, total: int) -> None:
        heard.append((done, total))

    await corpus.ingest(await corpus.put("long.md", long_text("key")), progress)
    assert heard == [(128, SECTIONS), (256, SECTIONS), (SECTIONS, SECTIONS)]


async def test_c097_an_ingestion_that_was_cut_off_goes_on_where_it_was(corpus: Corpus) -> None:
    document = await corpus.put("long.md", long_text("key"))
    with pytest.raises(Stopped):
        await corpus.ingest(document, stop_half_way)
    assert await corpus.find("the key of part 7") == []
    counting = Counting(corpus.embedder.model())
    resumed = Corpus(
        corpus.db, corpus.shelf, Embedder(lambda: counting), corpus.tenant, corpus.collection
    )
    made = await resumed.ingest(document)
    assert (made.chunks, made.embedded, counting.texts) == (SECTIONS, 44, 44)
    assert (await corpus.find("the key of part 7"))[0].section == "Long › Part 7"


async def test_two_ingestions_at_once_make_one_set_of_passages(corpus: Corpus) -> None:
    document = await corpus.put("long.md", long_text("key"))
    await asyncio.gather(corpus.ingest(document), corpus.ingest(document))
    assert (await corpus.get(document)).chunks == SECTIONS
    assert await corpus.chunks() == SECTIONS


async def test_ingesting_again_changes_nothing(corpus: Corpus) -> None:
    document = await corpus.add("a.md", "# A\n\nText.\n")
    again = await corpus.ingest(document)
    assert (again.chunks, again.embedded) == (1, 0)
    assert await corpus.version() == 1


async def test_a_reader_sees_the_old_revision_until_the_new_one_is_whole(corpus: Corpus) -> None:
    document = await corpus.add("a.md", "# A\n\nThe old harvest.\n")
    assert await corpus.put("a.md", long_text("harvest")) == document
    with pytest.raises(Stopped):
        await corpus.ingest(document, stop_half_way)
    assert [found.body for found in await corpus.find("harvest")] == ["The old harvest."]
    await corpus.ingest(document)
    assert "The old harvest." not in [found.body for found in await corpus.find("harvest", 50)]
    assert await corpus.chunks() == SECTIONS
    assert ((await corpus.get(document)).revision, await corpus.version()) == (2, 2)


async def test_an_upload_meanwhile_takes_over(corpus: Corpus) -> None:
    document = await corpus.put("a.md", long_text("first"))

    async def replace(done: int, total: int) -> None:
        if done == total:
            await corpus.put("a.md", "# A\n\nThe second.\n")

    made = await corpus.ingest(document, replace)
    assert made.superseded
    assert await corpus.find("first") == []
    await corpus.ingest(document)
    assert [found.body for found in await corpus.find("second")] == ["The second."]
    assert await corpus.chunks() == 1


async def test_c099_a_document_deleted_meanwhile_leaves_nothing(corpus: Corpus) -> None:
    document = await corpus.put("a.md", long_text("key"))

    async def delete(done: int, total: int) -> None:
        if done < total:
            await corpus.delete(document)

    made = await corpus.ingest(document, delete)
    assert made.superseded
    assert (await corpus.chunks(), await corpus.find("key")) == (0, [])


@pytest.mark.parametrize("text", ["", " \n\n", "<!-- nothing to see -->\n", "# Only a title\n"])
async def test_a_document_without_text_fails(corpus: Corpus, text: str) -> None:
    document = await corpus.put("empty.md", text)
    with pytest.raises(DocumentEmpty):
        await corpus.ingest(document)
    facts = await corpus.get(document)
    assert facts.state == "failed"
    assert facts.error is not None
    assert facts.error["code"] == "document_empty"


async def test_a_document_that_is_no_text_fails_and_is_not_guessed_at(corpus: Corpus) -> None:
    document = await corpus.put("latin.txt", b"Gr\xfc\xdfe", "text/plain")
    with pytest.raises(DocumentUnreadable):
        await corpus.ingest(document)
    facts = await corpus.get(document)
    assert facts.error is not None
    assert (facts.state, facts.error["code"]) == ("failed", "document_unreadable")
    assert await corpus.chunks() == 0


async def test_a_replacement_that_fails_leaves_the_old_text_in_place(corpus: Corpus) -> None:
    document = await corpus.add("a.md", "# A\n\nThe harvest.\n")
    await corpus.put("a.md", b"a\x00b")
    with pytest.raises(DocumentUnreadable):
        await corpus.ingest(document)
    assert (await corpus.get(document)).state == "failed"
    assert [found.body for found in await corpus.find("harvest")] == ["The harvest."]
    await corpus.put("a.md", "# A\n\nThe new harvest.\n")
    await corpus.ingest(document)
    assert [found.body for found in await corpus.find("harvest")] == ["The new harvest."]


async def test_a_document_of_nobody_is_not_found(corpus: Corpus) -> None:
    with pytest.raises(NotFound):
        await corpus.ingest(DocumentId(ids.new()))


async def test_the_database_holds_a_ready_document_to_its_passages(
    corpus: Corpus, admin: psycopg.Connection
) -> None:
    await corpus.put("a.md", "text")
    for change in ("chunks = 0, served = revision", "chunks = 1, served = NULL"):
        with pytest.raises(psycopg.errors.CheckViolation):
            admin.execute(f"UPDATE document SET state = 'ready', {change}")
