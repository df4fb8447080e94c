"""Tables of admission: how much waits, in figures a few seconds old; and who holds which unique key."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.core.ids import JobId, TenantId


class QueueLevel(Base):
    """What a tenant has queued in a lane; of PLATFORM, what all have. Counted anew by the `levels` loop."""

    __tablename__ = "queue_level"
    __table_args__ = ({"prefixes": ["UNLOGGED"]},)  # after a crash it is counted again

    tenant: Mapped[TenantId] = mapped_column(primary_key=True)
    lane: Mapped[str] = mapped_column(primary_key=True)
    jobs: Mapped[int]
    cost_nanousd: Mapped[int]  # predicted
    oldest_at: Mapped[datetime | None]  # since when the longest waiting one is queued
    pace_nanousd: Mapped[int]  # predicted cost that was released in a minute, lately
    counted_at: Mapped[datetime]


class UniqueKey(Base):
    """The job that a tenant's name stands for: while it is open, and until `held_until` whatever it became."""

    __tablename__ = "unique_key"

    tenant: Mapped[TenantId] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    job: Mapped[JobId | None]
    held_until: Mapped[datetime | None]
