"""Tables of the audit trail: entries, what is not yet sealed, and the links of the chains."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.core.ids import EntryId


class AuditEntry(Base):
    """Who did what to which object. `body` is the truth, as the exact text that is hashed."""

    __tablename__ = "audit_entry"
    __table_args__ = (Index("audit_entry_listed", "chain", "id"),)

    id: Mapped[EntryId] = mapped_column(primary_key=True)
    chain: Mapped[UUID]  # the tenant, or the nil id for the platform
    at: Mapped[datetime]
    action: Mapped[str]
    body: Mapped[str]
    salt: Mapped[bytes]


class AuditPending(Base):
    """Entries that no chain holds yet. The sealer takes them as they become visible."""

    __tablename__ = "audit_pending"

    entry: Mapped[EntryId] = mapped_column(ForeignKey("audit_entry.id"), primary_key=True)


class AuditLink(Base):
    """A sealed place in a chain: hash = SHA-256(previous hash, digest), digest = SHA-256(salt, body)."""

    __tablename__ = "audit_link"
    __table_args__ = (UniqueConstraint("entry"),)

    chain: Mapped[UUID] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    entry: Mapped[EntryId] = mapped_column(ForeignKey("audit_entry.id"))
    digest: Mapped[bytes]
    hash: Mapped[bytes]
    sealed_at: Mapped[datetime]
