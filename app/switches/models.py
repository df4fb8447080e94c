"""Table of kill switches."""

from datetime import datetime

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base


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
