"""Tables of levers: kill switches, and what is paused or drained."""

from datetime import datetime

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.core.ids import TenantId


class Switch(Base):
    """A lever that stops something at once: `admission`, `model_calls`, `webhooks`."""

    __tablename__ = "switch"
    __table_args__ = (
        CheckConstraint("name IN ('admission', 'model_calls', 'webhooks')", name="name_known"),
    )

    name: Mapped[str] = mapped_column(primary_key=True)
    off: Mapped[bool]
    reason: Mapped[str]
    set_by: Mapped[str]
    set_at: Mapped[datetime]


class Pause(Base):
    """A part of the queue that stands still (`pause`) or takes nothing more in (`drain`), while the row is there."""

    __tablename__ = "pause"
    __table_args__ = (
        CheckConstraint("kind IN ('lane', 'tenant', 'worker', 'workflow')", name="kind_known"),
        CheckConstraint("mode IN ('drain', 'pause')", name="mode_known"),
    )

    kind: Mapped[str] = mapped_column(primary_key=True)
    owner: Mapped[TenantId] = mapped_column(primary_key=True)  # PLATFORM: over all tenants
    name: Mapped[str] = mapped_column(primary_key=True)  # a worker's id; empty for a tenant
    mode: Mapped[str] = mapped_column(primary_key=True)
    reason: Mapped[str]
    set_by: Mapped[str]
    set_at: Mapped[datetime]
