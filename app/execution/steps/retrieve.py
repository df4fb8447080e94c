"""Retrieve: the passages of a collection that are nearest to a query."""

from typing import Any

from app.execution.errors import StepFailed
from app.execution.steps.bench import Bench, Outcome
from app.retrieval import collections, search


async def run(bench: Bench, arguments: dict[str, Any]) -> Outcome:
    """Search. Arguments: collection (its name), query, k. The result: {passages, corpus_version}."""
    name, query, k = arguments.get("collection"), arguments.get("query"), arguments.get("k", 6)
    if not isinstance(name, str) or not isinstance(query, str) or not isinstance(k, int):
        raise StepFailed(
            "retrieve wants a collection's name, a query and a number k", step="retrieve"
        )
    runtime, tenant = bench.runtime, bench.claimed.tenant
    async with runtime.db.transaction() as session:
        collection = await collections.get(session, tenant, name)
        passages = await search.search(session, runtime.embedder, tenant, collection.id, query, k)
    result = {"passages": search.plain(passages), "corpus_version": collection.version}
    facts = {
        "collection": name,
        "corpus_version": collection.version,
        "passages": len(passages),
        "k": k,
    }
    return Outcome(result, facts)
