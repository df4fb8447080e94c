"""Tables of metered usage, its rollups, and the price book."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.core.ids import AttemptId, HoldId, JobId, KeyId, LineId, PriceId, TenantId


class Price(Base):
    """What a model costs from a moment on, in pico-dollars a token. Never changed, only followed."""

    __tablename__ = "price"
    __table_args__ = (
        UniqueConstraint("provider", "model", "from_at"),
        CheckConstraint(
            "input_picousd >= 0 AND cached_input_picousd >= 0 AND cache_write_picousd >= 0"
            " AND output_picousd >= 0",
            name="not_negative",
        ),
    )

    id: Mapped[PriceId] = mapped_column(primary_key=True)
    provider: Mapped[str]
    model: Mapped[str]
    from_at: Mapped[datetime]
    input_picousd: Mapped[int]
    cached_input_picousd: Mapped[int]
    cache_write_picousd: Mapped[int]
    output_picousd: Mapped[int]
    created_at: Mapped[datetime]


class UsageLine(Base):
    """One metered fact, immutable. A correction is a new line for the same call."""

    __tablename__ = "usage_line"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "job"], ["job.tenant", "job.id"]),
        ForeignKeyConstraint(["tenant", "key"], ["api_key.tenant", "api_key.id"]),
        UniqueConstraint("call", "kind"),
        CheckConstraint("kind IN ('charge', 'correction')", name="kind_known"),
        Index("usage_line_of_job", "job"),
        Index("usage_line_of_key", "key"),
        Index("usage_line_of_price", "price"),
        Index("usage_line_by_time", "tenant", "at", "id"),
    )

    id: Mapped[LineId] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId] = mapped_column(ForeignKey("tenant.id"))
    call: Mapped[HoldId]  # the reservation, one a provider call: metering twice is a duplicate key
    kind: Mapped[str]
    at: Mapped[datetime]  # of the reservation
    job: Mapped[JobId]
    attempt: Mapped[AttemptId]
    step: Mapped[str]
    key: Mapped[KeyId | None]
    workflow: Mapped[str]
    workflow_version: Mapped[int]
    lane: Mapped[str]
    end_user: Mapped[str | None]
    tags: Mapped[list[str]]
    provider: Mapped[str]
    model: Mapped[str]
    price: Mapped[PriceId] = mapped_column(ForeignKey("price.id"))
    input_tokens: Mapped[int]  # cached and cache_write included
    cached_tokens: Mapped[int]
    cache_write_tokens: Mapped[int]
    output_tokens: Mapped[int]  # reasoning included
    reasoning_tokens: Mapped[int]
    estimated: Mapped[bool]  # counted by us, since the provider sent no usage
    unconfirmed: Mapped[bool]  # booked at the hold: what it really cost isn't known
    cost_nanousd: Mapped[int]
    latency_ms: Mapped[int]


class UsagePending(Base):
    """Lines not yet in the rollups: reports add them, the rollup loop takes them."""

    __tablename__ = "usage_pending"

    line: Mapped[LineId] = mapped_column(ForeignKey("usage_line.id"), primary_key=True)


class UsageRollup(Base):
    """Sums of a quarter of an hour, so that days in every time zone can be cut."""

    __tablename__ = "usage_rollup"

    tenant: Mapped[TenantId] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    bucket_at: Mapped[datetime] = mapped_column(primary_key=True)
    workflow: Mapped[str] = mapped_column(primary_key=True)
    provider: Mapped[str] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    lane: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[KeyId] = mapped_column(primary_key=True)  # the nil id: no key, the platform itself
    calls: Mapped[int]
    input_tokens: Mapped[int]
    cached_tokens: Mapped[int]
    cache_write_tokens: Mapped[int]
    output_tokens: Mapped[int]
    reasoning_tokens: Mapped[int]
    cost_nanousd: Mapped[int]
    unconfirmed_nanousd: Mapped[int]
