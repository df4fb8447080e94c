"""Tables of dispatch: who leads it, and what was released to whom."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.core.ids import TenantId


class DispatchShard(Base):
    """One row a shard. Whoever leads has raised its epoch; an older leader's statements find no row."""

    __tablename__ = "dispatch_shard"

    id: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int]


class Released(Base):
    """Predicted cost that dispatch released, by tenant, lane and minute: the memory of fairness."""

    __tablename__ = "released"

    tenant: Mapped[TenantId] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    lane: Mapped[str] = mapped_column(primary_key=True)
    minute: Mapped[datetime] = mapped_column(primary_key=True)
    cost_nanousd: Mapped[int]
