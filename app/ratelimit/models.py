"""Table of what was charged to limits of tokens and may go back."""

from datetime import datetime

from sqlalchemy import ForeignKeyConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.core.ids import JobId, KeyId, TenantId


class TokenCharge(Base):
    """The predicted tokens of an open job, where a limit counts them; gone once the job is over."""

    __tablename__ = "token_charge"
    __table_args__ = (ForeignKeyConstraint(["tenant", "job"], ["job.tenant", "job.id"]),)

    job: Mapped[JobId] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId]
    key: Mapped[KeyId | None]
    end_user: Mapped[str | None]
    tokens: Mapped[int]
    charged_at: Mapped[datetime] = mapped_column(index=True)
