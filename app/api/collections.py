"""Collections: named corpora, their documents, and search in them."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from app.api import asking, uploads, wire
from app.api.asking import IdempotencyKey
from app.api.openapi import raises
from app.api.routing import CollectionsRead, CollectionsWrite, OnPlatform, Route
from app.api.wire import Cursor, Limit, Listed, Moment, answer
from app.core import ids
from app.core.errors import NotFound
from app.core.ids import CollectionId, DocumentId
from app.idempotency import records
from app.intake import documents as intake
from app.retrieval import collections, documents, search
from app.retrieval.collections import CollectionFacts
from app.retrieval.documents import DocumentFacts

router: Final = APIRouter(route_class=Route, tags=["collections"])

Name = Annotated[str, Path(description="The collection's name.")]

_ROUTE: Final = "POST /v1/collections"
_COLLECTION: Final[dict[str, Any]] = {
    "id": "col_01kb1c2v3e4m5n6p7q8r9s0t1v", "object": "collection", "name": "handbook", "version": 12,
    "documents": 12, "created_at": "2026-11-25T06:00:00.000000Z",
}  # fmt: skip
_DOCUMENT: Final[dict[str, Any]] = {
    "id": "doc_01kb1c2v3e4m5n6p7q8r9s0t1v", "object": "document", "collection": "handbook",
    "name": "backups.md", "title": "Backups", "media_type": "text/markdown", "status": "ready",
    "error": None, "revision": 1, "served_revision": 1, "chunks": 9, "tokens": 1204,
    "job": "job_01kb1c2v3e4m5n6p7q8r9s0t1v", "created_at": "2026-11-25T06:00:00.000000Z",
    "ready_at": "2026-11-25T06:00:01.000000Z",
}  # fmt: skip
_PASSAGE: Final[dict[str, Any]] = {
    "id": "chk_01kb1c2v3e4m5n6p7q8r9s0t1v", "document": "doc_01kb1c2v3e4m5n6p7q8r9s0t1v",
    "name": "backups.md", "title": "Backups", "section": "Backups › Encryption",
    "text": "Backups are encrypted with AES-256.", "tokens": 9, "score": 0.0325, "cosine": 0.81,
    "coverage": 1.0,
}  # fmt: skip
_UPLOAD: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "The text itself, named by `?name=`, or a form with a part `file`.",
        "content": {
            "text/markdown": {"schema": {"type": "string"}, "example": "# Backups\n\nThey run at 02:00."},
            "text/plain": {"schema": {"type": "string"}},
            "text/html": {"schema": {"type": "string"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "contentMediaType": "application/octet-stream"},
                        "name": {"type": "string"},
                        "title": {"type": "string"},
                    },
                }
            },
        },
    }
}  # fmt: skip


class NewCollection(BaseModel):
    """A collection to make."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "handbook"}]}
    )

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$", description="Unique in the tenant.")


class CollectionBody(BaseModel):
    """A collection. Its version rises with every change of its documents."""

    model_config = ConfigDict(json_schema_extra={"examples": [_COLLECTION]})

    id: str
    object: Literal["collection"] = "collection"
    name: str
    version: int
    documents: int
    created_at: Moment

    @classmethod
    def of(cls, facts: CollectionFacts) -> "CollectionBody":
        """A collection as it was read."""
        return cls(
            id=ids.wire("col", facts.id), name=facts.name, version=facts.version,
            documents=facts.documents, created_at=facts.created_at,
        )  # fmt: skip


class DocumentBody(BaseModel):
    """A document. While a new revision is pending, searches see the one that was served before."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DOCUMENT]})

    id: str
    object: Literal["document"] = "document"
    collection: str
    name: str
    title: str
    media_type: str
    status: Literal["pending", "ready", "failed"]
    error: dict[str, Any] | None
    revision: int
    served_revision: int | None
    chunks: int
    tokens: int
    job: str | None = Field(description="The job that ingests it.")
    created_at: Moment
    ready_at: Moment | None

    @classmethod
    def of(cls, facts: DocumentFacts, collection: str) -> "DocumentBody":
        """A document as it was read."""
        return cls(
            id=ids.wire("doc", facts.id), collection=collection, name=facts.name, title=facts.title,
            media_type=facts.media_type, status=facts.state, error=facts.error,
            revision=facts.revision, served_revision=facts.served, chunks=facts.chunks,
            tokens=facts.tokens, job=None if facts.job is None else ids.wire("job", facts.job),
            created_at=facts.created_at, ready_at=facts.ready_at,
        )  # fmt: skip


class Question(BaseModel):
    """What to look for."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"query": "How are backups encrypted?", "k": 5}]},
    )

    query: str = Field(min_length=1, max_length=search.MAX_QUERY_CHARACTERS)
    k: StrictInt = Field(5, ge=1, le=search.MAX_PASSAGES, description="How many passages at most.")


class PassageBody(BaseModel):
    """A passage that was found. `score` ranks within this answer only."""

    model_config = ConfigDict(json_schema_extra={"examples": [_PASSAGE]})

    id: str
    document: str
    name: str
    title: str
    section: str
    text: str
    tokens: int
    score: float
    cosine: float
    coverage: float


class Found(BaseModel):
    """The best passages, best first, and the version of the collection."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"collection": "handbook", "version": 12, "data": [_PASSAGE]}]
        }
    )

    collection: str
    version: int
    data: list[PassageBody]


@router.post(
    "/v1/collections",
    status_code=201,
    response_model=CollectionBody,
    responses=raises("collection_exists", "idempotency_key_reused", "idempotency_key_missing"),
)
async def create_collection(
    body: NewCollection, key: IdempotencyKey, caller: CollectionsWrite, platform: OnPlatform
) -> Response:
    """Make a collection, empty for now."""
    made, replayed = CollectionId(ids.new()), False
    async with platform.db.transaction() as session:
        if key is not None:
            intent = records.fingerprint(body.model_dump())
            claim = await records.claim(session, caller.tenant, _ROUTE, key, intent, made)
            replayed = claim.replayed
        if replayed:
            facts = await collections.get(session, caller.tenant, body.name)
        else:
            facts = await collections.create(session, caller.tenant, made, body.name)
    headers = {"Location": f"/v1/collections/{facts.name}"}
    return answer(CollectionBody.of(facts), 201, wire.replay(headers, replayed))


@router.get("/v1/collections", response_model=Listed[CollectionBody])
async def list_collections(
    caller: CollectionsRead, platform: OnPlatform, limit: Limit = 20, cursor: Cursor = None
) -> Response:
    """List the tenant's collections, newest first."""
    last = wire.after(cursor)
    async with platform.db.transaction() as session:
        page = await collections.listed(session, caller.tenant, after=last, limit=limit)
    data = [CollectionBody.of(facts) for facts in page.items]
    return answer(Listed[CollectionBody](data=data, next_cursor=page.next_cursor))


@router.get("/v1/collections/{name}", response_model=CollectionBody, responses=raises("not_found"))
async def get_collection(name: Name, caller: CollectionsRead, platform: OnPlatform) -> Response:
    """Get one collection."""
    async with platform.db.transaction() as session:
        return answer(CollectionBody.of(await collections.get(session, caller.tenant, name)))


@router.delete(
    "/v1/collections/{name}",
    status_code=204,
    response_class=Response,
    responses=raises("not_found"),
)
async def delete_collection(
    name: Name, caller: CollectionsWrite, platform: OnPlatform, request: Request
) -> Response:
    """Delete a collection with its documents and passages. Their bytes follow within two minutes."""
    async with platform.db.transaction() as session:
        await collections.delete(session, caller.tenant, name, actor=asking.actor(request, caller))
    return Response(status_code=204)


@router.post(
    "/v1/collections/{name}/documents",
    status_code=202,
    response_model=DocumentBody,
    openapi_extra=_UPLOAD,
    responses=raises(
        "not_found",
        "bad_request",
        "idempotency_key_reused",
        "idempotency_key_missing",
        "disabled",
        "draining",
        "budget_exhausted",
        "unknown_workflow",
    ),
)
async def upload_document(
    name: Name,
    key: IdempotencyKey,
    caller: CollectionsWrite,
    platform: OnPlatform,
    request: Request,
    document: Annotated[str | None, Query(alias="name", max_length=255)] = None,
    title: Annotated[str | None, Query(max_length=255)] = None,
) -> Response:
    """Upload a document: Markdown, plain text or HTML. A job ingests it; under a name that is there already
    it becomes the next revision.
    """
    async with platform.db.transaction() as session:
        collection = (await collections.get(session, caller.tenant, name)).id
    request.state.body_bytes = platform.settings.api.document_bytes
    sent = uploads.read(
        request.headers.get("content-type", ""), await request.body(), name=document, title=title
    )
    uploaded = await intake.upload(
        platform.desk, platform.store, asking.asker(request, caller), collection, sent, key=key
    )
    async with platform.db.transaction() as session:
        facts = await documents.get(session, caller.tenant, uploaded.document)
    headers = {"Location": f"/v1/collections/{name}/documents/{ids.wire('doc', facts.id)}"}
    return answer(DocumentBody.of(facts, name), 202, wire.replay(headers, uploaded.replayed))


@router.get(
    "/v1/collections/{name}/documents",
    response_model=Listed[DocumentBody],
    responses=raises("not_found"),
)
async def list_documents(
    name: Name,
    caller: CollectionsRead,
    platform: OnPlatform,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """List the documents of a collection, newest first."""
    last = wire.after(cursor)
    async with platform.db.transaction() as session:
        collection = (await collections.get(session, caller.tenant, name)).id
        page = await documents.listed(session, caller.tenant, collection, after=last, limit=limit)
    data = [DocumentBody.of(facts, name) for facts in page.items]
    return answer(Listed[DocumentBody](data=data, next_cursor=page.next_cursor))


@router.get(
    "/v1/collections/{name}/documents/{document}",
    response_model=DocumentBody,
    responses=raises("not_found"),
)
async def get_document(
    name: Name, document: str, caller: CollectionsRead, platform: OnPlatform
) -> Response:
    """Get one document."""
    wanted = DocumentId(wire.identified("doc", document, "document"))
    async with platform.db.transaction() as session:
        collection = (await collections.get(session, caller.tenant, name)).id
        facts = _inside(await documents.get(session, caller.tenant, wanted), collection)
    return answer(DocumentBody.of(facts, name))


@router.delete(
    "/v1/collections/{name}/documents/{document}",
    status_code=204,
    response_class=Response,
    responses=raises("not_found"),
)
async def delete_document(
    name: Name, document: str, caller: CollectionsWrite, platform: OnPlatform, request: Request
) -> Response:
    """Delete a document with its passages. From then on no search finds it. Its bytes follow within two
    minutes.
    """
    wanted = DocumentId(wire.identified("doc", document, "document"))
    async with platform.db.transaction() as session:
        collection = (await collections.get(session, caller.tenant, name)).id
        _inside(await documents.get(session, caller.tenant, wanted), collection)
        await documents.delete(session, caller.tenant, wanted, actor=asking.actor(request, caller))
    return Response(status_code=204)


@router.post("/v1/collections/{name}/search", response_model=Found, responses=raises("not_found"))
async def search_collection(
    name: Name, body: Question, caller: CollectionsRead, platform: OnPlatform
) -> Response:
    """Search a collection by words and by meaning. No model is called and nothing is charged."""
    async with platform.db.transaction() as session:
        collection = await collections.get(session, caller.tenant, name)
        passages = await search.search(
            session, platform.embedder, caller.tenant, collection.id, body.query, body.k
        )
    data = [
        PassageBody(
            id=ids.wire("chk", one.chunk), document=ids.wire("doc", one.document), name=one.name,
            title=one.title, section=one.section, text=one.body, tokens=one.tokens,
            score=round(one.score, 6), cosine=round(one.cosine, 6), coverage=round(one.coverage, 6),
        )
        for one in passages
    ]  # fmt: skip
    return answer(Found(collection=name, version=collection.version, data=data))


def _inside(facts: DocumentFacts, collection: CollectionId) -> DocumentFacts:
    # A document under another collection's name isn't there, whoever's it is.
    if facts.collection != collection:
        raise NotFound("No such document.")
    return facts
