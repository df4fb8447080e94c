"""Table of events that others will act on, written in the commit that caused them."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.core.ids import EventId, TenantId


class OutboxEvent(Base):
    """One event of a tenant; relayed once it has been fanned out to deliveries."""

    __tablename__ = "outbox_event"
    __table_args__ = (
        UniqueConstraint("tenant", "id"),
        Index("outbox_event_waiting", "id", postgresql_where="relayed_at IS NULL"),
    )

    id: Mapped[EventId] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId] = mapped_column(ForeignKey("tenant.id"))
    name: Mapped[str]
    subject: Mapped[UUID]
    payload: Mapped[dict[str, Any]]
    at: Mapped[datetime]
    relayed_at: Mapped[datetime | None]
