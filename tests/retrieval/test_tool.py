"""`retrieval.search` finds in the caller's collections, and in nobody else's."""

from typing import Any

import jsonschema
import psycopg
import pytest

from app.core import clock, ids
from app.core.ids import JobId, TenantId
from app.retrieval import tool
from app.tools.errors import ToolFailed
from app.tools.tool import Call
from tests.arrange import make_tenant
from tests.retrieval.corpus import Corpus
from tests.retrieval.test_search import FACTS


async def test_passages_of_the_tenants_own_collection_are_found(
    corpus: Corpus, admin: psycopg.Connection
) -> None:
    await corpus.add("canals.md", FACTS)
    made = tool.tool(corpus.db, corpus.embedder)

    async def ask(tenant: TenantId, **given: Any) -> Any:
        jsonschema.validate(given, made.input)
        return await made.run(Call(given, tenant, JobId(ids.new()), "s", 0, "k", clock.now()))

    found = await ask(corpus.tenant, collection="handbook", query="price of a licence", k=1)
    assert [passage["section"] for passage in found["passages"]] == ["Canals › Licence"]
    assert found["corpus_version"] >= 1
    for tenant, name in [(make_tenant(admin, "other"), "handbook"), (corpus.tenant, "nowhere")]:
        with pytest.raises(ToolFailed, match=f"no collection is called {name}"):
            await ask(tenant, collection=name, query="licence")
    with pytest.raises(ToolFailed, match="NUL"):
        await ask(corpus.tenant, collection="handbook", query="a\0b")
