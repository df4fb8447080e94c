"""Table of signs of life."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base


class Pulse(Base):
    """A part of the platform that must not stand still: when it last made progress, and what is wrong with it."""

    __tablename__ = "pulse"

    part: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    fault: Mapped[str | None]
