"""Documents and collections: named, listed, replaced, deleted; each tenant's own."""

from dataclasses import replace

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import ids, lists
from app.core.errors import Invalid, NotFound
from app.core.ids import CollectionId, TenantId
from app.files import store
from app.retrieval import collections, documents, search
from app.retrieval.errors import CollectionExists
from tests.arrange import make_tenant
from tests.retrieval.corpus import ACTOR, Corpus


async def make(session: AsyncSession, tenant: TenantId, name: str) -> CollectionId:
    return (await collections.create(session, tenant, CollectionId(ids.new()), name)).id


async def test_a_collection_is_found_by_its_name(session: AsyncSession, tenant: TenantId) -> None:
    made = await make(session, tenant, "handbook")
    facts = await collections.get(session, tenant, "handbook")
    assert (facts.id, facts.version, facts.documents) == (made, 0, 0)


async def test_a_name_is_taken_once_a_tenant(
    session: AsyncSession, tenant: TenantId, admin: psycopg.Connection
) -> None:
    await make(session, tenant, "handbook")
    with pytest.raises(CollectionExists):
        await make(session, tenant, "handbook")
    await make(session, make_tenant(admin, "other"), "handbook")


@pytest.mark.parametrize("name", ["", "Handbook", "-x", "a b", "a" * 65, "a/b", "ä", "a\n"])
async def test_a_name_that_is_none_is_refused(
    session: AsyncSession, tenant: TenantId, name: str
) -> None:
    with pytest.raises(Invalid):
        await make(session, tenant, name)


async def test_collections_are_listed_newest_first_in_pages(
    session: AsyncSession, tenant: TenantId
) -> None:
    for name in ("a", "b", "c"):
        await make(session, tenant, name)
    first = await collections.listed(session, tenant, limit=2)
    assert first.next_cursor is not None
    rest = await collections.listed(session, tenant, after=lists.after(first.next_cursor), limit=2)
    assert [item.name for item in first.items + rest.items] == ["c", "b", "a"]
    assert rest.next_cursor is None


async def test_a_deleted_collection_takes_all_with_it(corpus: Corpus) -> None:
    await corpus.add("a.md", "# A\n\nThe harvest.\n")
    async with corpus.db.transaction() as session:
        await collections.delete(session, corpus.tenant, "handbook", actor=ACTOR)
    assert (await corpus.chunks(), await corpus.find("harvest")) == (0, [])
    async with corpus.db.transaction() as session:
        with pytest.raises(NotFound):
            await collections.get(session, corpus.tenant, "handbook")


async def test_c099_what_is_deleted_is_found_no_more(corpus: Corpus) -> None:
    kept = await corpus.add("kept.md", "# Kept\n\nThe spring harvest.\n")
    gone = await corpus.add("gone.md", "# Gone\n\nThe winter harvest.\n")
    before = await corpus.version()
    await corpus.delete(gone)
    assert [found.document for found in await corpus.find("The winter harvest.")] == [kept]
    assert (await corpus.chunks(), await corpus.version()) == (1, before + 1)
    async with corpus.db.transaction() as session:
        assert await documents.present(session, corpus.tenant, [kept, gone]) == {kept}
        with pytest.raises(NotFound):
            await documents.delete(session, corpus.tenant, gone, actor=ACTOR)


async def test_documents_are_listed_newest_first_in_pages(corpus: Corpus) -> None:
    for name in ("a", "b", "c"):
        await corpus.put(name, "text")
    async with corpus.db.transaction() as session:
        first = await documents.listed(session, corpus.tenant, corpus.collection, limit=2)
        assert first.next_cursor is not None
        after = lists.after(first.next_cursor)
        rest = await documents.listed(session, corpus.tenant, corpus.collection, after=after)
    assert [item.name for item in first.items + rest.items] == ["c", "b", "a"]


async def test_a_document_keeps_its_id_when_it_is_replaced(corpus: Corpus) -> None:
    document = await corpus.add("a.md", "# One\n\ntext\n")
    assert await corpus.put("a.md", "# Two\n\nother text\n") == document
    facts = await corpus.get(document)
    assert (facts.state, facts.revision, facts.served, facts.error) == ("pending", 2, 1, None)
    await corpus.ingest(document)
    assert (await corpus.get(document)).title == "Two"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("", "text/plain"),
        ("a\0b", "text/plain"),
        ("x" * 256, "text/plain"),
        ("a.pdf", "application/pdf"),
    ],
)
async def test_a_document_that_cannot_be_read_is_refused(
    corpus: Corpus, name: str, media_type: str
) -> None:
    with pytest.raises(Invalid):
        await corpus.put(name, "text", media_type)


async def test_another_tenants_documents_are_not_there(
    corpus: Corpus, admin: psycopg.Connection
) -> None:
    document = await corpus.add("a.md", "# A\n\nThe harvest.\n")
    other = replace(corpus, tenant=make_tenant(admin, "other"))
    assert await other.find("harvest") == []
    for call in (other.get, other.delete, other.ingest):
        with pytest.raises(NotFound):
            await call(document)
    async with corpus.db.transaction() as session:
        found = await documents.present(session, other.tenant, [document])
        page = await documents.listed(session, other.tenant, corpus.collection)
    assert (found, page.items) == (frozenset(), [])
    assert await corpus.find("harvest") != []


async def test_a_collection_of_another_tenant_takes_no_document(
    corpus: Corpus, admin: psycopg.Connection
) -> None:
    other = replace(corpus, tenant=make_tenant(admin, "other"))
    with pytest.raises(Exception, match="foreign key"):
        await other.put("a.md", "text")


async def test_searching_nothing_finds_nothing(corpus: Corpus) -> None:
    assert await corpus.find("harvest") == []
    async with corpus.db.transaction() as session:
        nowhere = CollectionId(ids.new())
        found = await search.search(session, corpus.embedder, corpus.tenant, nowhere, "x", 3)
    assert found == []


async def swept(corpus: Corpus, admin: psycopg.Connection) -> list[bytes]:
    """What lies in the files folder once two minutes have passed."""
    admin.execute("UPDATE file SET dropped_at = dropped_at - interval '2 minutes'")
    while await store.sweep(corpus.db, corpus.shelf):
        pass
    return sorted(path.read_bytes() for path in corpus.shelf.folder.rglob("*") if path.is_file())


async def test_c099_bytes_go_with_the_last_document_that_has_them(
    corpus: Corpus, admin: psycopg.Connection
) -> None:
    twin = await corpus.add("a.md", "# Same\n\nThe harvest.\n")
    other = await corpus.add("b.md", "# Same\n\nThe harvest.\n")
    await corpus.add("c.md", "# Kept\n\nThe spring.\n")

    await corpus.delete(twin)
    assert len(await swept(corpus, admin)) == 2
    await corpus.delete(other)
    assert await swept(corpus, admin) == [b"# Kept\n\nThe spring.\n"]
    assert admin.execute("SELECT count(*) FROM file").fetchone() == (1,)


async def test_a_replaced_documents_bytes_go_and_what_is_served_stays(
    corpus: Corpus, admin: psycopg.Connection
) -> None:
    document = await corpus.add("a.md", "# One\n\nThe winter harvest.\n")
    await corpus.put("a.md", "# Two\n\nThe spring.\n")
    assert await swept(corpus, admin) == [b"# Two\n\nThe spring.\n"]
    assert [found.document for found in await corpus.find("winter harvest")] == [document]
    await corpus.ingest(document)
    assert (await corpus.get(document)).title == "Two"


async def test_a_deleted_collections_bytes_go_too(
    corpus: Corpus, admin: psycopg.Connection
) -> None:
    await corpus.add("a.md", "# A\n\nThe harvest.\n")
    await corpus.add("b.md", "# B\n\nThe winter.\n")
    async with corpus.db.transaction() as session:
        await collections.delete(session, corpus.tenant, "handbook", actor=ACTOR)
    assert await swept(corpus, admin) == []
    told = admin.execute("SELECT action FROM audit_entry ORDER BY id DESC LIMIT 1").fetchone()
    assert told == ("collection.delete",)
