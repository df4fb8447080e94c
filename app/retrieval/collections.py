"""Collections: named corpora of one tenant."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from sqlalchemy import delete as delete_from
from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.core import ids, lists
from app.core.errors import Invalid, NotFound
from app.core.ids import CollectionId, TenantId
from app.core.lists import Page
from app.files import store
from app.retrieval.errors import CollectionExists
from app.retrieval.models import Collection, Document

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_COUNT: Final = (
    select(func.count()).where(Document.collection == Collection.id).correlate(Collection)
).scalar_subquery()
_FACTS: Final = select(
    Collection.id, Collection.name, Collection.version, _COUNT, Collection.created_at
)


@dataclass(frozen=True, slots=True)
class CollectionFacts:
    """A collection as a reader sees it. `version` rises with every change of its documents."""

    id: CollectionId
    name: str
    version: int
    documents: int
    created_at: datetime


async def create(
    session: AsyncSession, tenant: TenantId, collection: CollectionId, name: str
) -> CollectionFacts:
    """A new, empty collection under an id the caller made. Raises Invalid, CollectionExists."""
    if not _NAME.fullmatch(name):
        raise Invalid.at("/name", "1 to 64 of a-z, 0-9, - and _, a letter or digit first")
    row = {"id": collection, "tenant": tenant, "name": name, "created_at": func.app_now()}
    made = await session.scalar(
        insert(Collection)
        .values(row)
        .on_conflict_do_nothing(index_elements=["tenant", "name"])
        .returning(Collection.id)
    )
    if made is None:
        raise CollectionExists(name=name)
    return await get(session, tenant, name)


async def get(session: AsyncSession, tenant: TenantId, name: str) -> CollectionFacts:
    """A tenant's collection by its name. Raises NotFound."""
    row = (
        await session.execute(_FACTS.where(Collection.tenant == tenant, Collection.name == name))
    ).one_or_none()
    if row is None:
        raise NotFound
    return CollectionFacts(*row)


async def listed(
    session: AsyncSession, tenant: TenantId, *, after: UUID | None = None, limit: int = 50
) -> Page[CollectionFacts]:
    """A tenant's collections, newest first."""
    query = _FACTS.where(Collection.tenant == tenant)
    if after is not None:
        query = query.where(Collection.id < after)
    rows = (await session.execute(query.order_by(Collection.id.desc()).limit(limit + 1))).all()
    items = [CollectionFacts(*row) for row in rows[:limit]]
    return Page(items, lists.cursor(items[-1].id) if len(rows) > limit else None)


async def delete(
    session: AsyncSession, tenant: TenantId, name: str, *, actor: trail.Actor
) -> CollectionId:
    """Remove a collection with its documents, passages and vectors; their bytes follow. Raises NotFound."""
    found = (await get(session, tenant, name)).id
    files = await session.scalars(
        delete_from(Document).where(Document.collection == found).returning(Document.file)
    )
    gone = files.all()
    await store.drop(session, tenant, gone)
    await session.execute(delete_from(Collection).where(Collection.id == found))
    entry = trail.entry(
        tenant, actor=actor, action="collection.delete", object=ids.wire("col", found),
        before={"name": name, "documents": len(gone)},
    )  # fmt: skip
    await trail.append(session, entry)
    return found


async def touch(session: AsyncSession, collection: CollectionId) -> int:
    """Its documents have changed: the next version, which the caller's commit makes true."""
    raised: int | None = await session.scalar(
        update(Collection)
        .where(Collection.id == collection)
        .values(version=Collection.version + 1)
        .returning(Collection.version)
    )
    if raised is None:
        raise NotFound
    return raised
