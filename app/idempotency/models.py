"""Table of idempotency records."""

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.core.ids import TenantId


class IdempotencyRecord(Base):
    """A client's name for one intent, and the object that it made."""

    __tablename__ = "idempotency_record"
    __table_args__ = (Index("idempotency_record_expiring", "expires_at"),)

    tenant: Mapped[TenantId] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    route: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[bytes]
    object: Mapped[UUID]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
