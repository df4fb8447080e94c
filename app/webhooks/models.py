"""Tables of webhook endpoints, deliveries and their tries."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.core.ids import DeliveryId, EndpointId, EventId, SecretId, TenantId


class WebhookEndpoint(Base):
    """Where a tenant wants to be told, and of what. A deleted one stays for its deliveries, unseen."""

    __tablename__ = "webhook_endpoint"
    __table_args__ = (
        UniqueConstraint("tenant", "id"),
        ForeignKeyConstraint(
            ["tenant", "secret"],
            ["secret.tenant", "secret.id"],
            name="webhook_endpoint_secret_fkey",
        ),
        ForeignKeyConstraint(
            ["tenant", "old_secret"],
            ["secret.tenant", "secret.id"],
            name="webhook_endpoint_old_secret_fkey",
        ),
        CheckConstraint("state IN ('enabled', 'disabled', 'deleted')", name="state_known"),
        CheckConstraint("(secret IS NULL) = (state = 'deleted')", name="signed_until_deleted"),
        CheckConstraint(
            "(old_secret IS NOT NULL) = (old_secret_until IS NOT NULL)", name="rotation_ends"
        ),
        Index("webhook_endpoint_secret", "secret"),
        Index("webhook_endpoint_old_secret", "old_secret"),
    )

    id: Mapped[EndpointId] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId] = mapped_column(ForeignKey("tenant.id"))
    url: Mapped[str]
    description: Mapped[str]
    events: Mapped[list[str]]  # names, or ["*"]
    secret: Mapped[SecretId | None]
    old_secret: Mapped[SecretId | None]
    old_secret_until: Mapped[datetime | None]
    state: Mapped[str] = mapped_column(server_default="enabled")
    disabled_reason: Mapped[str | None]
    created_at: Mapped[datetime]


class Delivery(Base):
    """One event to one endpoint, over all its tries."""

    __tablename__ = "delivery"
    __table_args__ = (
        UniqueConstraint("tenant", "id"),
        UniqueConstraint("endpoint", "event", "generation"),
        ForeignKeyConstraint(
            ["tenant", "endpoint"], ["webhook_endpoint.tenant", "webhook_endpoint.id"]
        ),
        ForeignKeyConstraint(["tenant", "event"], ["outbox_event.tenant", "outbox_event.id"]),
        CheckConstraint(
            "state IN ('pending', 'dispatched', 'delivered', 'failed')", name="state_known"
        ),
        CheckConstraint(
            "(finished_at IS NOT NULL) = (state IN ('delivered', 'failed'))", name="ends_once"
        ),
        CheckConstraint(
            "(lease_until IS NOT NULL) = (state = 'dispatched')", name="leased_while_out"
        ),
        CheckConstraint("claimed_at IS NULL OR state = 'dispatched'", name="claimed_while_out"),
        # due.sql walks this an endpoint at a time.
        Index("delivery_due", "endpoint", "due_at", postgresql_where="state = 'pending'"),
        Index("delivery_listed", "endpoint", "id"),
        Index("delivery_leased", "lease_until", postgresql_where="state = 'dispatched'"),
        Index("delivery_of_event", "event"),
    )

    id: Mapped[DeliveryId] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId]
    endpoint: Mapped[EndpointId]
    event: Mapped[EventId]
    generation: Mapped[int] = mapped_column(server_default="0")  # a redelivery by hand is a new one
    state: Mapped[str]
    reason: Mapped[str | None]
    tries: Mapped[int] = mapped_column(server_default="0")
    due_at: Mapped[datetime]
    lease_until: Mapped[datetime | None]
    claimed_at: Mapped[datetime | None]  # when its sender took it up: the fence of what it records
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class DeliveryTry(Base):
    """One request to an endpoint, and how it ended."""

    __tablename__ = "delivery_try"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "delivery"], ["delivery.tenant", "delivery.id"]),
    )

    delivery: Mapped[DeliveryId] = mapped_column(primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId]
    at: Mapped[datetime]
    status: Mapped[int | None]
    error: Mapped[str | None]
    duration_ms: Mapped[int]
