"""Tables of retention: how far each purge of jobs has come, and what it passed over."""

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.core.ids import JobId


class PurgeMark(Base):
    """One kind of data: everything up to `after` was looked at. What was too young then is in purge_later."""

    __tablename__ = "purge_mark"

    kind: Mapped[str] = mapped_column(primary_key=True)
    after: Mapped[JobId]
    purged: Mapped[int]  # jobs or rows in all
    behind_seconds: Mapped[
        float
    ]  # age, beyond what is kept, of what a full batch left; 0: nothing is behind
    at: Mapped[datetime]


class PurgeLater(Base):
    """A job that a purge passed over: it had not ended long enough ago, or somebody held it."""

    __tablename__ = "purge_later"

    kind: Mapped[str] = mapped_column(primary_key=True)
    job: Mapped[JobId] = mapped_column(primary_key=True)
