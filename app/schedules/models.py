"""Tables of schedules and of the runs that they made."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.core.ids import JobId, KeyId, RunId, ScheduleId, TenantId


class Schedule(Base):
    """A job that a tenant wants again and again. An active one knows its next time."""

    __tablename__ = "schedule"
    __table_args__ = (
        UniqueConstraint("tenant", "id"),
        UniqueConstraint("tenant", "name"),
        ForeignKeyConstraint(["tenant", "key"], ["api_key.tenant", "api_key.id"]),
        CheckConstraint("missed_runs IN ('skip', 'run_once', 'run_all')", name="missed_known"),
        CheckConstraint("overlap IN ('skip', 'queue', 'cancel_running')", name="overlap_known"),
        CheckConstraint(
            "(paused_at IS NULL) = (due_at IS NOT NULL) AND (due_at IS NULL) = (fire_at IS NULL)",
            name="active_is_due",
        ),
        Index("schedule_of_key", "key"),
        # The loop looks for what is due each second.
        Index("schedule_due", "fire_at", postgresql_where="fire_at IS NOT NULL"),
    )

    id: Mapped[ScheduleId] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId] = mapped_column(ForeignKey("tenant.id"))
    key: Mapped[KeyId | None]  # who made it: its jobs count to this key's limits
    name: Mapped[str]
    cron: Mapped[str]
    time_zone: Mapped[str]
    missed_runs: Mapped[str]
    overlap: Mapped[str]
    jitter_seconds: Mapped[int]
    job: Mapped[dict[str, Any]]  # the JobSpec of each run
    due_at: Mapped[datetime | None]  # the next time by the expression
    fire_at: Mapped[datetime | None]  # the same with its jitter
    paused_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class ScheduleRun(Base):
    """One due time, or one request by hand, and what became of it. Its id is its job's, where it made one."""

    __tablename__ = "schedule_run"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "schedule"], ["schedule.tenant", "schedule.id"]),
        CheckConstraint(
            "outcome IN ('pending', 'admitted', 'refused', 'skipped', 'missed')",
            name="outcome_known",
        ),
        CheckConstraint("(job IS NOT NULL) = (outcome = 'admitted')", name="admitted_has_a_job"),
        Index("schedule_run_of", "schedule", "id"),
        Index("schedule_run_pending", "id", postgresql_where="outcome = 'pending'"),
    )

    id: Mapped[RunId] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId]
    schedule: Mapped[ScheduleId]
    due_at: Mapped[datetime]
    by_hand: Mapped[bool] = mapped_column(server_default="false")
    outcome: Mapped[str] = mapped_column(server_default="pending")
    missed: Mapped[int] = mapped_column(
        server_default="0"
    )  # due times that this one stands for too
    job: Mapped[JobId | None]
    code: Mapped[str | None]  # of the refusal
    detail: Mapped[str | None]
    at: Mapped[datetime]
