"""C099: a document that is deleted while an answer is made: the answer says so of its citation."""

import asyncio
from importlib import resources
from typing import Any

import yaml
from psycopg.types.json import Jsonb

from app.core import ids
from app.core.ids import CollectionId, DocumentId
from app.execution import runner
from app.retrieval import collections
from tests.arrange import make_jobs, make_workflow
from tests.execution.conftest import Shop
from tests.fakes.provider import Answer, Provider
from tests.retrieval.corpus import Corpus
from tests.waiting import until

JOBS = 100
FACT = "The winter harvest is stored in nine chambers below the hill."


def shipped() -> dict[str, Any]:
    text = (resources.files("app.workflows") / "shipped" / "answer.yaml").read_text()
    definition: dict[str, Any] = yaml.safe_load(text)
    return definition


async def corpus_of(shop: Shop) -> tuple[Corpus, DocumentId]:
    made = CollectionId(ids.new())
    async with shop.runtime.db.transaction() as session:
        await collections.create(session, shop.tenant, made, "handbook")
    runtime = shop.runtime
    corpus = Corpus(runtime.db, runtime.store, runtime.embedder, shop.tenant, made)
    return corpus, await corpus.add("harvest.md", f"# Harvest\n\n{FACT}\n")


def ask(shop: Shop, count: int) -> None:
    """So many jobs with the same question."""
    version = make_workflow(shop.admin, shop.tenant, shipped())
    make_jobs(shop.admin, shop.tenant, version, count, workflow="answer")
    question = "In how many chambers is the winter harvest stored?"
    given = Jsonb({"collection": "handbook", "question": question})
    shop.admin.execute("UPDATE job SET input = %s", (given,))


async def test_c099_an_answer_marks_what_was_deleted_while_it_was_drafted(
    shop: Shop, fake: Provider
) -> None:
    corpus, document = await corpus_of(shop)
    fake.otherwise = Answer(held=True)
    ask(shop, JOBS)
    items = [await shop.dispatch() for _ in range(JOBS)]
    running = [
        asyncio.create_task(runner.run(shop.runtime, item.job, item.attempt)) for item in items
    ]

    async def all_wait() -> bool:
        return fake.open_calls == JOBS

    await until(all_wait, seconds=60)
    await corpus.delete(document)
    fake.otherwise = Answer()
    fake.released.set()
    await asyncio.gather(*running)

    ends = shop.admin.execute("SELECT state, output FROM job").fetchall()
    assert {state for state, _ in ends} == {"succeeded"}
    for _, output in ends:
        assert {cited["deleted"] for cited in output["citations"]} == {True}
        assert {cited["document"] for cited in output["citations"]} == {ids.wire("doc", document)}
    assert (await corpus.find(FACT), await corpus.chunks()) == ([], 0)


async def test_an_answer_from_a_document_that_is_there_says_so(shop: Shop) -> None:
    await corpus_of(shop)
    ask(shop, 1)
    await shop.run()
    row = shop.admin.execute("SELECT output FROM job").fetchone()
    assert row is not None
    assert [cited["deleted"] for cited in row[0]["citations"]] == [False]
