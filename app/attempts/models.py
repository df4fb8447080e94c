"""Tables of attempts and of the workers that hold them."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, no_json_null
from app.core.ids import AttemptId, JobId, TenantId, WorkerId

OUTCOMES = (
    "succeeded", "failed", "cancelled", "expired", "parked", "interrupted", "lost", "undelivered",
)  # fmt: skip


class Attempt(Base):
    """One try at a job, made at dispatch. Its id fences every write of the worker that holds it."""

    __tablename__ = "attempt"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "job"], ["job.tenant", "job.id"]),
        UniqueConstraint("job", "number"),
        CheckConstraint("state IN ('dispatched', 'running', 'ended')", name="state_known"),
        CheckConstraint("(ended_at IS NOT NULL) = (state = 'ended')", name="ends_once"),
        CheckConstraint("(outcome IS NOT NULL) = (state = 'ended')", name="ends_somehow"),
        CheckConstraint(
            "outcome IN (" + ", ".join(f"'{o}'" for o in OUTCOMES) + ")", name="outcome_known"
        ),
        CheckConstraint(
            "(worker IS NOT NULL) = (claimed_at IS NOT NULL)", name="claimed_by_someone"
        ),
        CheckConstraint("state <> 'running' OR worker IS NOT NULL", name="run_by_someone"),
        no_json_null("error"),
        # the reaper reads the head of this; heartbeats rewrite lease_until, and only open ones are in it
        Index("attempt_leased", "lease_until", postgresql_where="ended_at IS NULL"),
        Index("attempt_of_worker", "worker", postgresql_where="ended_at IS NULL"),
    )

    id: Mapped[AttemptId] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId]
    job: Mapped[JobId]
    run: Mapped[int]
    number: Mapped[int]
    state: Mapped[str]
    outcome: Mapped[str | None]
    worker: Mapped[WorkerId | None]
    lease_until: Mapped[datetime]
    dispatched_at: Mapped[datetime]
    claimed_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    error: Mapped[dict[str, Any] | None]


class Worker(Base):
    """A worker process: how many jobs it can run, of which lanes, and when it was last heard of."""

    __tablename__ = "worker"
    __table_args__ = (
        CheckConstraint("slots > 0", name="slots_positive"),
        Index("worker_heard", "seen_at"),
    )

    id: Mapped[WorkerId] = mapped_column(primary_key=True)
    host: Mapped[str]
    pid: Mapped[int]
    lanes: Mapped[list[str]]
    slots: Mapped[int]
    started_at: Mapped[datetime]
    seen_at: Mapped[datetime]  # when it last spoke
    heard_at: Mapped[datetime]  # when messages last could reach it
    stopping_at: Mapped[datetime | None]
