"""Table of how much waits: figures a few seconds old, for decisions that must not count themselves."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.core.ids import TenantId


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
