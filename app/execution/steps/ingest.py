"""Ingest: one uploaded document becomes passages with vectors, in batches that survive a crash."""

from typing import Any

from app.attempts.errors import AttemptLost
from app.core import ids
from app.core.ids import DocumentId
from app.execution.errors import StepFailed
from app.execution.runtime import Mark
from app.execution.steps.bench import Bench, Outcome
from app.jobs.transitions import Note
from app.retrieval import ingestion


async def run(bench: Bench, arguments: dict[str, Any]) -> Outcome:
    """Ingest. Arguments: document (its wire id). The result: {document, revision, chunks, tokens, superseded}."""
    document = ids.parse("doc", str(arguments.get("document")))
    if document is None:
        raise StepFailed("ingest wants a document's id", step="ingest")
    runtime, claimed = bench.runtime, bench.claimed

    async def progress(done: int, total: int) -> None:
        facts = {"done": done, "total": total, "label": "chunks"}
        note = Note(claimed.job, claimed.attempt, "job.progress", facts, facts)
        if await runtime.marks.submit(Mark(note)) is None:
            raise AttemptLost("The attempt is not current any more.")

    made = await ingestion.ingest(
        runtime.db, runtime.store, runtime.embedder, claimed.tenant, DocumentId(document), progress
    )
    result = {
        "document": arguments["document"], "revision": made.revision, "chunks": made.chunks,
        "tokens": made.tokens, "superseded": made.superseded,
    }  # fmt: skip
    return Outcome(result, {"embedded": made.embedded})
