"""Documents in: the bytes are kept, the document is entered, and a job is admitted that reads it.

The upload's key is recorded with the document, in one commit; the job follows. A crash in between
leaves a pending document without a job: the same request, sent again, finds it so and admits one.
"""

import hashlib
from dataclasses import dataclass, replace

from app.core import ids
from app.core.ids import CollectionId, DocumentId, JobId
from app.files import store as storing
from app.files.store import Store
from app.idempotency import records
from app.intake import admission
from app.intake.admission import Asker, Desk, JobSpec
from app.retrieval import documents
from app.retrieval.documents import DocumentFacts
from app.tenants.limits import NONE

ROUTE = "POST /v1/collections/{name}/documents"


@dataclass(frozen=True, slots=True)
class Upload:
    """One document as a client sends it."""

    name: str
    title: str
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The document and the job that ingests it."""

    document: DocumentId
    job: JobId
    replayed: bool


async def upload(
    desk: Desk,
    store: Store,
    asker: Asker,
    collection: CollectionId,
    sent: Upload,
    *,
    key: str | None,
) -> Uploaded:
    """Take a document in, new or in place of the one of that name; the same key and bytes do it once.

    Raises Invalid, IdempotencyKeyReused, and what `admit` raises.
    """
    facts, replayed = await _enter(desk, store, asker, collection, sent, key)
    if facts.job is not None:
        return Uploaded(facts.id, facts.job, replayed)
    spec = JobSpec(
        "towpath.ingest", {"document": ids.wire("doc", facts.id)}, lane="batch", tags=("ingest",),
        metadata={"document": sent.name},
    )  # fmt: skip
    # The upload was counted when it came; the job that follows from it isn't the client's request.
    admitted = await admission.admit(desk, replace(asker, limits=NONE), spec, key=None)
    async with desk.db.transaction() as session:
        await documents.assign(session, asker.tenant, facts.id, admitted.job)
    return Uploaded(facts.id, admitted.job, replayed)


async def _enter(
    desk: Desk, store: Store, asker: Asker, collection: CollectionId, sent: Upload, key: str | None
) -> tuple[DocumentFacts, bool]:
    document = DocumentId(ids.new())
    async with desk.db.transaction() as session:
        if key is not None:
            intent = _fingerprint(collection, sent)
            claim = await records.claim(session, asker.tenant, ROUTE, key, intent, document)
            if claim.replayed:
                found = await documents.get(session, asker.tenant, DocumentId(claim.object))
                return found, True
        file = await storing.put(
            session, store, asker.tenant, sent.data, sent.media_type, "document"
        )
        facts = await documents.put(
            session, asker.tenant, collection, document,
            name=sent.name, media_type=sent.media_type, file=file, title=sent.title,
        )  # fmt: skip
        if key is not None and facts.id != document:  # a revision of one that was there
            await records.point(session, asker.tenant, ROUTE, key, facts.id)
        return facts, False


def _fingerprint(collection: CollectionId, sent: Upload) -> bytes:
    intent = {
        "collection": ids.wire("col", collection), "name": sent.name, "title": sent.title,
        "media_type": sent.media_type, "sha256": hashlib.sha256(sent.data).hexdigest(),
    }  # fmt: skip
    return records.fingerprint(intent)
