"""Tables of jobs and their events."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Computed,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    SmallInteger,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, no_json_null
from app.core.ids import AttemptId, EndpointId, JobId, KeyId, TenantId, VersionId
from app.jobs.states import LANES, QUARANTINE, STATES, TERMINAL, WAITS, sql_list


class Job(Base):
    """One unit of work a tenant asked for. Written by transitions.py, moving.py and intake's admission alone."""

    __tablename__ = "job"
    __table_args__ = (
        UniqueConstraint("tenant", "id"),
        ForeignKeyConstraint(["tenant", "key"], ["api_key.tenant", "api_key.id"]),
        ForeignKeyConstraint(
            ["tenant", "version"], ["workflow_version.tenant", "workflow_version.id"]
        ),
        ForeignKeyConstraint(
            ["tenant", "callback"], ["webhook_endpoint.tenant", "webhook_endpoint.id"]
        ),
        CheckConstraint(f"state IN ({sql_list(STATES)})", name="state_known"),
        CheckConstraint(
            f"(finished_at IS NOT NULL) = (state IN ({sql_list(TERMINAL)}))", name="ends_once"
        ),
        CheckConstraint(f"waiting_for IN ({sql_list(WAITS)})", name="wait_known"),
        CheckConstraint("erased_at IS NULL OR finished_at IS NOT NULL", name="erased_once_ended"),
        CheckConstraint(
            "(waiting_for IS NOT NULL) = (state = 'waiting')", name="waits_for_something"
        ),
        CheckConstraint(
            "(current_attempt IS NOT NULL) = (state IN ('dispatched', 'running'))",
            name="attempt_is_current",
        ),
        CheckConstraint("state <> 'scheduled' OR wake_at IS NOT NULL", name="scheduled_for_a_time"),
        CheckConstraint(
            "started_at IS NOT NULL OR state NOT IN ('running', 'succeeded')",
            name="ran_before_it_ended",
        ),
        CheckConstraint(f"lane IN ({sql_list((*LANES, QUARANTINE))})", name="lane_known"),
        CheckConstraint(
            f"(home_lane IS NOT NULL) = (lane = '{QUARANTINE}')", name="quarantined_from_a_lane"
        ),
        CheckConstraint("priority BETWEEN 0 AND 9", name="priority_in_range"),
        CheckConstraint("max_cost_nanousd > 0", name="max_cost_positive"),
        CheckConstraint("max_attempts > 0", name="max_attempts_positive"),
        *map(no_json_null, ("output", "error", "progress", "limits")),
        # Each dispatcher walks its buckets a kind of work at a time, so that a full cap is passed over in one step;
        # rank = queued_at less the priority's head start.
        Index(
            "job_queued",
            "lane",
            "bucket",
            "tenant",
            "cap_group",
            "rank",
            "id",
            postgresql_where="state = 'queued'",
        ),
        Index(
            "job_active",
            "lane",
            "bucket",
            "tenant",
            "cap_group",
            postgresql_where="state IN ('dispatched', 'running')",
        ),
        Index("job_waking", "wake_at", postgresql_where="state IN ('scheduled', 'waiting')"),
        Index(
            "job_wanting_money",
            "tenant",
            "rank",
            postgresql_where="state = 'waiting' AND waiting_for = 'budget'",
        ),
        Index(
            "job_expiring",
            "deadline_at",
            postgresql_where="finished_at IS NULL AND deadline_at IS NOT NULL",
        ),
        Index("job_by_callback", "callback", postgresql_where="callback IS NOT NULL"),
        # Jobs without model calls (predicted 1) stay out: there is nothing to learn from what they cost.
        Index(
            "job_spent",
            "finished_at",
            postgresql_where="finished_at IS NOT NULL AND predicted_nanousd > 1",
        ),
        Index("job_by_key", "key"),
        Index("job_by_version", "version"),
    )

    id: Mapped[JobId] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId] = mapped_column(ForeignKey("tenant.id"))
    # A random byte of its tenant's id: a dispatcher's shard is a range of these.
    bucket: Mapped[int] = mapped_column(
        SmallInteger, Computed("get_byte(uuid_send(tenant), 15)", persisted=True)
    )
    key: Mapped[KeyId | None]
    workflow: Mapped[str]
    version: Mapped[VersionId]
    version_number: Mapped[int]
    state: Mapped[str]
    waiting_for: Mapped[str | None]
    lane: Mapped[str]
    home_lane: Mapped[str | None]  # in quarantine: the lane it was admitted to
    priority: Mapped[int]
    rank: Mapped[datetime]
    cap_group: Mapped[int]  # caps.group: jobs of one hash stand under the same caps
    limits: Mapped[dict[str, Any] | None]  # caps.limits: what its workflow's definition limits
    input: Mapped[dict[str, Any]]
    output: Mapped[dict[str, Any] | None]
    error: Mapped[dict[str, Any] | None]
    progress: Mapped[dict[str, Any] | None]
    max_cost_nanousd: Mapped[int | None]
    predicted_nanousd: Mapped[int]  # the envelope: what its model calls may cost at most
    need_nanousd: Mapped[int | None]  # waiting for budget: the hold that found no room
    max_attempts: Mapped[int]
    run: Mapped[int] = mapped_column(server_default="1")
    attempts: Mapped[int] = mapped_column(server_default="0")  # made in all, the number of the last
    failures: Mapped[int] = mapped_column(server_default="0")
    losses: Mapped[int] = mapped_column(server_default="0")  # of workers that ran it alone
    shared_losses: Mapped[int] = mapped_column(
        server_default="0"
    )  # of workers that ran others too, since the last checkpoint
    interruptions: Mapped[int] = mapped_column(server_default="0")
    undelivered: Mapped[int] = mapped_column(server_default="0")  # dispatches lost in a row
    current_attempt: Mapped[AttemptId | None]
    event_seq: Mapped[int] = mapped_column(server_default="1")  # the last event's
    cancel_requested_at: Mapped[datetime | None]
    wake_at: Mapped[datetime | None]
    timeout_seconds: Mapped[int | None]  # from its start on; claim.sql makes a deadline of it
    run_at: Mapped[datetime | None]
    deadline_at: Mapped[datetime | None]
    job_metadata: Mapped[dict[str, Any]] = mapped_column("metadata")
    tags: Mapped[list[str]]
    end_user: Mapped[str | None]
    session: Mapped[str | None]
    traceparent: Mapped[str | None]
    callback: Mapped[EndpointId | None]  # told of this job, whatever events it asks for
    created_at: Mapped[datetime]
    queued_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    erased_at: Mapped[datetime | None]  # when its contents went by age

    @property
    def shown_lane(self) -> str:
        """The lane that its client knows."""
        return self.home_lane or self.lane


class JobEvent(Base):
    """What happened to a job, in the order of `seq`, given under the job's lock."""

    __tablename__ = "job_event"
    __table_args__ = (ForeignKeyConstraint(["tenant", "job"], ["job.tenant", "job.id"]),)

    job: Mapped[JobId] = mapped_column(primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId]
    at: Mapped[datetime]
    name: Mapped[str]
    attempt: Mapped[AttemptId | None]
    data: Mapped[dict[str, Any]]
