"""Table of files; their bytes lie in a folder, under their digest."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.core.ids import FileId, TenantId


class File(Base):
    """Bytes a tenant gave or made: immutable, found by digest in the tenant's own folder."""

    __tablename__ = "file"
    __table_args__ = (
        UniqueConstraint("tenant", "id"),
        CheckConstraint("size_bytes >= 0", name="size_not_negative"),
        # Who else has these bytes, asked before they are removed.
        Index("file_bytes", "tenant", "sha256"),
        Index("file_dropped", "dropped_at", postgresql_where="dropped_at IS NOT NULL"),
    )

    id: Mapped[FileId] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId] = mapped_column(ForeignKey("tenant.id"))
    sha256: Mapped[bytes]
    size_bytes: Mapped[int]
    media_type: Mapped[str]
    purpose: Mapped[str]
    created_at: Mapped[datetime]
    dropped_at: Mapped[datetime | None]  # nobody refers to it any more; the sweep removes it
