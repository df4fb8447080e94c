"""Table of files; their bytes lie in a folder, under their digest."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.core.ids import FileId, TenantId


class File(Base):
    """Bytes a tenant gave or made: immutable, found by digest in the tenant's own folder."""

    __tablename__ = "file"
    __table_args__ = (
        UniqueConstraint("tenant", "id"),
        CheckConstraint("size_bytes >= 0", name="size_not_negative"),
    )

    id: Mapped[FileId] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId] = mapped_column(ForeignKey("tenant.id"))
    sha256: Mapped[bytes]
    size_bytes: Mapped[int]
    media_type: Mapped[str]
    purpose: Mapped[str]
    created_at: Mapped[datetime]
