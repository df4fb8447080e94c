"""Tables of accounts, reservations, ledger entries and the replies that money bought."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column
from sqlalchemy.types import Uuid

from app.core.db import Base
from app.core.ids import AccountId, AttemptId, HoldId, JobId, LineId, PriceId, TenantId


class BudgetAccount(Base):
    """Money and its cap: of a tenant, or of one job (its id is then the job's). Locked last."""

    __tablename__ = "budget_account"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "job"], ["job.tenant", "job.id"]),
        CheckConstraint("kind IN ('tenant', 'job')", name="kind_known"),
        CheckConstraint("(job IS NOT NULL) = (kind = 'job')", name="job_of_its_kind"),
        CheckConstraint(
            "limit_nanousd >= 0 AND spent_nanousd >= 0 AND held_nanousd >= 0", name="not_negative"
        ),
        Index(
            "budget_account_of_tenant", "tenant", unique=True, postgresql_where="kind = 'tenant'"
        ),
        Index("budget_account_of_job", "job", unique=True),
    )

    id: Mapped[AccountId] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId] = mapped_column(ForeignKey("tenant.id"))
    kind: Mapped[str]
    job: Mapped[JobId | None]
    limit_nanousd: Mapped[int]
    spent_nanousd: Mapped[int] = mapped_column(server_default="0")
    held_nanousd: Mapped[int] = mapped_column(server_default="0")
    overrun_at: Mapped[datetime | None]  # a settlement passed its hold: blocked till looked at
    created_at: Mapped[datetime]


class Reservation(Base):
    """A hold: money set aside before one paid call, under an id made before it was asked for."""

    __tablename__ = "reservation"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "job"], ["job.tenant", "job.id"]),
        ForeignKeyConstraint(["attempt"], ["attempt.id"]),
        CheckConstraint("state IN ('held', 'settled', 'released')", name="state_known"),
        CheckConstraint("(closed_at IS NOT NULL) = (state <> 'held')", name="closes_once"),
        CheckConstraint("asked_nanousd >= 0", name="asked_not_negative"),
        CheckConstraint("NOT unconfirmed OR state = 'settled'", name="unconfirmed_when_settled"),
        Index("reservation_open", "attempt", postgresql_where="state = 'held'"),
        Index("reservation_of_attempt", "attempt"),
        Index("reservation_of_job", "job"),
        Index("reservation_of_price", "price"),
    )

    id: Mapped[HoldId] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId]
    job: Mapped[JobId]
    attempt: Mapped[AttemptId]
    step: Mapped[str]
    effect_key: Mapped[str]
    accounts: Mapped[list[UUID]] = mapped_column(ARRAY(Uuid))
    labels: Mapped[dict[str, Any]]  # what its usage line is reported by, whoever closes it
    provider: Mapped[str]
    model: Mapped[str]
    price: Mapped[PriceId] = mapped_column(ForeignKey("price.id"))
    input_bound_tokens: Mapped[int]
    max_output_tokens: Mapped[int]
    state: Mapped[str]
    asked_nanousd: Mapped[int]
    cost_nanousd: Mapped[int | None]
    unconfirmed: Mapped[bool] = mapped_column(server_default="false")
    overrun: Mapped[bool] = mapped_column(server_default="false")
    made_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]


class LedgerEntry(Base):
    """Append-only: what a hold's life did to an account. The sums are the account's own columns."""

    __tablename__ = "ledger_entry"
    __table_args__ = (
        UniqueConstraint("account", "reservation", "kind"),
        CheckConstraint("kind IN ('hold', 'settle', 'release', 'correct')", name="kind_known"),
        Index("ledger_entry_of_reservation", "reservation"),
    )

    id: Mapped[LineId] = mapped_column(primary_key=True)
    account: Mapped[AccountId] = mapped_column(ForeignKey("budget_account.id"))
    reservation: Mapped[HoldId] = mapped_column(ForeignKey("reservation.id"))
    kind: Mapped[str]
    held_nanousd: Mapped[int]  # change of held
    spent_nanousd: Mapped[int]  # change of spent
    at: Mapped[datetime]


class Effect(Base):
    """The reply that a settled call bought, under the key of its place in the job.

    A resumed step reads it instead of calling again; pruned when the step is checkpointed.
    """

    __tablename__ = "effect"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "job"], ["job.tenant", "job.id"]),
        Index("effect_of_job", "job"),
        Index("effect_of_reservation", "reservation"),
    )

    key: Mapped[str] = mapped_column(primary_key=True)  # job:step:item:turn, the same over attempts
    tenant: Mapped[TenantId]
    job: Mapped[JobId]
    reservation: Mapped[HoldId] = mapped_column(ForeignKey("reservation.id"))
    reply: Mapped[dict[str, Any]]
    at: Mapped[datetime]
