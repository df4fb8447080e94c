"""Tables of tenants, their plans and their API keys."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.core.ids import KeyId, TenantId


class Plan(Base):
    """Limits that many tenants share, in the form of `limits.py`."""

    __tablename__ = "plan"

    name: Mapped[str] = mapped_column(primary_key=True)
    limits: Mapped[dict[str, Any]] = mapped_column(server_default="{}")
    created_at: Mapped[datetime]


class Tenant(Base):
    """Who asks and pays."""

    __tablename__ = "tenant"
    __table_args__ = (
        CheckConstraint("state IN ('active', 'suspended', 'closed')", name="state_known"),
        CheckConstraint("weight > 0 AND max_running > 0", name="positive"),
    )

    id: Mapped[TenantId] = mapped_column(primary_key=True)
    slug: Mapped[str] = mapped_column(unique=True)
    name: Mapped[str]
    state: Mapped[str] = mapped_column(server_default="active")
    weight: Mapped[int] = mapped_column(server_default="1")
    max_running: Mapped[int] = mapped_column(server_default="100")
    requires_idempotency: Mapped[bool] = mapped_column(server_default="false")
    plan: Mapped[str | None] = mapped_column(ForeignKey("plan.name"), index=True)
    limits: Mapped[dict[str, Any]] = mapped_column(server_default="{}")  # in place of the plan's
    created_at: Mapped[datetime]


class ApiKey(Base):
    """A credential of one tenant. The key itself is shown once; only its digest is kept."""

    __tablename__ = "api_key"
    __table_args__ = (UniqueConstraint("tenant", "id"),)

    id: Mapped[KeyId] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId] = mapped_column(ForeignKey("tenant.id"))
    name: Mapped[str]
    prefix: Mapped[str]
    digest: Mapped[bytes] = mapped_column(unique=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
