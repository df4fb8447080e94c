"""`retrieval.search`: search in the tenant's own collections, as a tool of workflows."""

from functools import partial
from typing import Any, Final

from app.core.db import Database
from app.core.errors import Invalid, NotFound
from app.retrieval import collections, search
from app.retrieval.embedding import Embedder
from app.retrieval.search import MAX_PASSAGES, MAX_QUERY_CHARACTERS
from app.tools.errors import ToolFailed
from app.tools.tool import Call, Tool

NAME: Final = "retrieval.search"


def tool(db: Database | None, embedder: Embedder) -> Tool:
    """The tool on this database; without one it is for looking at, not for calling."""
    return Tool(
        name=NAME, version="1", effect="idempotent", run=partial(_search, db, embedder),
        description="The passages of a collection that are nearest to a query, best first.",
        input={
            "type": "object",
            "properties": {
                "collection": {"type": "string", "maxLength": 64},
                "query": {"type": "string", "minLength": 1, "maxLength": MAX_QUERY_CHARACTERS},
                "k": {"type": "integer", "minimum": 1, "maximum": MAX_PASSAGES, "default": 6},
            },
            "required": ["collection", "query"],
            "additionalProperties": False,
        },
        output={"type": "object", "required": ["passages", "corpus_version"]},
    )  # fmt: skip


async def _search(db: Database | None, embedder: Embedder, call: Call) -> dict[str, Any]:
    """{passages, corpus_version}. Raises ToolFailed where there is no such collection."""
    assert db is not None  # noqa: S101 - a worker has one
    given = call.arguments
    try:
        async with db.transaction() as session:
            collection = await collections.get(session, call.tenant, given["collection"])
            passages = await search.search(
                session, embedder, call.tenant, collection.id, given["query"], given.get("k", 6)
            )
    except NotFound:
        raise ToolFailed(f"no collection is called {given['collection']}", tool=NAME) from None
    except Invalid as error:
        raise ToolFailed(error.message, tool=NAME) from None
    return {"passages": search.plain(passages), "corpus_version": collection.version}
