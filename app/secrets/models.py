"""Table of recoverable secrets, encrypted."""

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.core.ids import SecretId, TenantId


class Secret(Base):
    """A value the platform must be able to use again: AES-256-GCM under the operator's key."""

    __tablename__ = "secret"
    __table_args__ = (UniqueConstraint("tenant", "id"),)

    id: Mapped[SecretId] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId] = mapped_column(ForeignKey("tenant.id"))
    purpose: Mapped[str]
    nonce: Mapped[bytes]
    ciphertext: Mapped[bytes]
    key_id: Mapped[str]  # which master key: the first 8 hex digits of its SHA-256
    created_at: Mapped[datetime]
