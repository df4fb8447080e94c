"""Documents in: the bytes are kept, the document is entered, and a job is admitted that reads it.

In that order, so that the job finds what it needs; a crash in between leaves a pending document, which
the same request, sent again, takes up: a document is known by its name in its collection.
"""

from dataclasses import dataclass

from app.core import ids
from app.core.db import Database
from app.core.ids import CollectionId, DocumentId, JobId
from app.files import store as storing
from app.files.store import Store
from app.intake import admission
from app.intake.admission import Asker, Desk, JobSpec
from app.retrieval import documents


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
    *,
    name: str,
    title: str,
    media_type: str,
    data: bytes,
    key: str | None,
) -> Uploaded:
    """Take a document in, new or in place of the one of that name. Raises what `admit` and `documents` raise."""
    db: Database = desk.db
    async with db.transaction() as session:
        file = await storing.put(session, store, asker.tenant, data, media_type, "document")
        document = await documents.enter(
            session,
            asker.tenant,
            collection,
            name=name,
            title=title,
            media_type=media_type,
            file=file,
        )
    spec = JobSpec(
        "towpath.ingest", {"document": ids.wire("doc", document)}, lane="batch", tags=("ingest",),
        metadata={"document": name},
    )  # fmt: skip
    admitted = await admission.admit(desk, asker, spec, key=key)
    async with db.transaction() as session:
        await documents.assign(session, asker.tenant, document, admitted.job)
    return Uploaded(document, admitted.job, admitted.outcome == "replayed")
