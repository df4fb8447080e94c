"""Runs the workflow `answer` over a list of questions and says how each came out: for tuning the guard.

    .venv/bin/python scripts/_answers.py [--corpus DIR …] [--questions FILE] [--model URL] [-v]

The definition that ships is driven step by step as a worker drives it, on servers of its own, with
the real model; nothing is kept. Questions are in the form of tests/journeys/answers.yaml; the figures
are right section, drafted, quoted, refused, and facts that are missing or forbidden.
"""

import argparse
import asyncio
import re
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import yaml
from openai import AsyncOpenAI

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from app.core import ids  # noqa: E402 - the checkout is no installed package when this starts
from app.core.db import Database, open_database  # noqa: E402
from app.core.ids import CollectionId, DocumentId, TenantId  # noqa: E402
from app.embedded import model, postgres, states  # noqa: E402
from app.files import store  # noqa: E402
from app.prompts import library  # noqa: E402
from app.retrieval import collections, documents, embedding, ingestion, search  # noqa: E402
from app.retrieval.embedding import Embedder  # noqa: E402
from app.retrieval.errors import DocumentEmpty  # noqa: E402
from app.safety import support  # noqa: E402
from app.workflows import definitions, engine  # noqa: E402
from app.workflows.definitions import ModelStep  # noqa: E402
from migrations import run as migrations  # noqa: E402

TYPES = {".md": "text/markdown", ".html": "text/html", ".txt": "text/plain"}


class Lab:
    """A tenant, a collection, a model: what the steps of one definition need."""

    def __init__(
        self, db: Database, embedder: Embedder, tenant: TenantId, llm: AsyncOpenAI
    ) -> None:
        self.db, self.embedder, self.tenant, self.llm = db, embedder, tenant, llm
        raw = yaml.safe_load((ROOT / "app/workflows/shipped/answer.yaml").read_text("utf-8"))
        self.definition = definitions.parse(raw)

    async def ingest(self, folder: Path, corpus: list[Path]) -> str:
        """All documents of the folders into one collection; gives the figures."""
        shelf = store.open_store(folder)
        paths = sorted(path for one in corpus for path in one.rglob("*") if path.suffix in TYPES)
        async with self.db.transaction() as session:
            made = await collections.create(session, self.tenant, CollectionId(ids.new()), "corpus")
        begun, chunks = time.perf_counter(), 0
        for path in paths:
            kind = TYPES[path.suffix]
            async with self.db.transaction() as session:
                file = await store.put(
                    session, shelf, self.tenant, path.read_bytes(), kind, "document"
                )
                facts = await documents.put(
                    session, self.tenant, made.id, DocumentId(ids.new()),
                    name=path.name, media_type=kind, file=file,
                )  # fmt: skip
            try:
                done = await ingestion.ingest(self.db, shelf, self.embedder, self.tenant, facts.id)
                chunks += done.chunks
            except DocumentEmpty:
                say(f"{path.name} has no text")
        seconds = time.perf_counter() - begun
        rate = len(paths) / seconds
        return f"{len(paths)} documents, {chunks} chunks, {seconds:.1f} s, {rate:.1f} documents/s"

    async def answer(self, question: str) -> dict[str, Any]:
        """The workflow's output for one question, and the results of its steps."""
        given = {"collection": "corpus", "question": question}
        recorded: engine.Recorded = {}
        while isinstance(following := engine.plan(self.definition, given, recorded), engine.Run):
            step = following.step
            recorded[step.id, 0] = await self._run(step, following.arguments)
        assert isinstance(following, engine.Done)  # noqa: S101 - this definition has no map
        return {**following.output, "steps": {name: it for (name, _), it in recorded.items()}}

    async def _run(self, step: definitions.AnyStep, given: dict[str, Any]) -> dict[str, Any]:
        if isinstance(step, ModelStep):
            name, _, version = step.prompt.partition("@")
            reply = await self.llm.chat.completions.create(
                model=model.NAME, max_tokens=step.max_tokens, temperature=step.temperature,
                messages=library.render(name, int(version), **given),  # type: ignore[arg-type]  # plain dicts
            )  # fmt: skip
            return {"text": reply.choices[0].message.content or ""}
        if step.kind == "retrieve":
            async with self.db.transaction() as session:
                found = await collections.get(session, self.tenant, given["collection"])
                passages = await search.search(
                    session, self.embedder, self.tenant, found.id, given["query"], given["k"]
                )
            return {"passages": search.plain(passages)}
        if step.kind == "pick":
            return support.pick(given["question"], given["passages"], self.embedder.embed)
        if step.kind == "verify":
            return support.verify(
                given["text"], given["passages"], self.embedder.embed, given["question"]
            )
        return support.conclude(given["evidence"], given["checks"])


def say(line: str) -> None:
    """A line for people."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def cites(answer: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Does it cite one of the sections that answer the question?"""
    places = {(it["document"], it["section"]) for it in [expected, *expected.get("also", [])]}
    return bool(places & {(it["name"], it["section"]) for it in answer["citations"]})


async def judge(lab: Lab, questions: dict[str, Any], *, verbose: bool) -> None:
    """Every question once, then the figures."""
    tally: Counter[str] = Counter()
    for expected in questions.get("questions", []):
        answer = await lab.answer(expected["question"])
        said, right = answer["answer"], cites(answer, expected)
        told = answer["outcome"] != "refused"
        missing = [it for it in expected.get("must", []) if not re.search(it, said, re.IGNORECASE)]
        false = [
            it for it in expected.get("must_not", []) if told and re.search(it, said, re.IGNORECASE)
        ]
        tally.update([answer["outcome"]] + ["right section"] * right)
        tally.update(["misses a fact"] * bool(told and missing) + ["FORBIDDEN"] * bool(false))
        show(expected["question"], answer, "right" if right else "wrong", verbose=verbose)
    for expected in questions.get("refused", []):
        answer = await lab.answer(expected["question"])
        tally["rightly refused" if answer["outcome"] == "refused" else "SHOULD REFUSE"] += 1
        show(expected["question"], answer, "to refuse", verbose=verbose)
    say(f"\n{dict(tally)}")


def show(question: str, answer: dict[str, Any], note: str, *, verbose: bool) -> None:
    """One answer, and where asked its drafts with what spoke against them."""
    evidence = answer["steps"]["evidence"]
    sections = ", ".join(dict.fromkeys(it["section"] for it in answer["citations"]))
    say(f"\n{question}\n  {answer['outcome']} ({note}) {evidence['score']} {evidence['reason']}")
    say(f"  {answer['answer']}\n  § {sections}")
    for draft, check in (("draft", "check"), ("redraft", "recheck")) if verbose else ():
        if draft in answer["steps"]:
            against = [it["reasons"] for it in answer["steps"][check]["sentences"]]
            say(f"  {draft}: {answer['steps'][draft]['text']!r} {against}")


async def main() -> None:
    """Start what is needed, ask, tell, clear away."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else "")
    default = [ROOT / "docs" / "handbook", ROOT / "docs" / "guide"]
    parser.add_argument("--corpus", type=Path, nargs="+", default=default)
    parser.add_argument("--questions", type=Path, default=ROOT / "tests/journeys/answers.yaml")
    parser.add_argument("--model", help="base URL of a model server; without it one is started")
    parser.add_argument("-v", "--verbose", action="store_true", help="show the drafts too")
    args = parser.parse_args()
    folder = states.temporary()
    database = postgres.start(folder / "pg")
    server = None if args.model else model.start(folder / "llm")
    try:
        migrations.up(database.owner_url)
        tenant = TenantId(ids.new())
        with psycopg.connect(database.superuser_url, autocommit=True) as admin:
            row = "INSERT INTO tenant (id, slug, name, created_at) VALUES (%s, 'lab', 'Lab', app_now())"
            admin.execute(row, (tenant,))
        db = open_database(database.app_url)
        url = args.model or (server.base_url if server else "")
        async with AsyncOpenAI(base_url=url, api_key="none", timeout=300) as llm:
            lab = Lab(db, embedding.open_embedder(), tenant, llm)
            say(await lab.ingest(folder / "files", args.corpus))
            questions = yaml.safe_load(args.questions.read_text("utf-8"))
            await judge(lab, questions, verbose=args.verbose)
        await db.close()
    finally:
        if server is not None:
            server.stop()
        database.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    asyncio.run(main())
