"""Tables of workflows, their immutable versions, and the checkpoints of jobs."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, no_json_null
from app.core.ids import AttemptId, JobId, StepId, TenantId, VersionId


class Workflow(Base):
    """A tenant's workflow by name, and which of its versions is released."""

    __tablename__ = "workflow"

    tenant: Mapped[TenantId] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    released: Mapped[int]
    created_at: Mapped[datetime]


class WorkflowVersion(Base):
    """A definition as data. Never changed, never deleted while a job may need it."""

    __tablename__ = "workflow_version"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "workflow"], ["workflow.tenant", "workflow.name"]),
        UniqueConstraint("tenant", "workflow", "number"),
        UniqueConstraint("tenant", "id"),
    )

    id: Mapped[VersionId] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId]
    workflow: Mapped[str]
    number: Mapped[int]
    definition: Mapped[dict[str, Any]]
    digest: Mapped[bytes]
    created_at: Mapped[datetime]


class Step(Base):
    """A try of a step that ended. One that succeeded is the checkpoint: a resumed job skips it."""

    __tablename__ = "step"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "job"], ["job.tenant", "job.id"]),
        ForeignKeyConstraint(["attempt"], ["attempt.id"]),
        CheckConstraint("state IN ('succeeded', 'failed')", name="state_known"),
        CheckConstraint("(error IS NOT NULL) = (state = 'failed')", name="fails_with_a_reason"),
        *map(no_json_null, ("result", "error")),
        Index(
            "step_recorded",
            "job",
            "name",
            "item",
            unique=True,
            postgresql_where="state = 'succeeded'",
        ),
        Index("step_of_job", "job", "id"),
        Index("step_of_attempt", "attempt"),
    )

    id: Mapped[StepId] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId]
    job: Mapped[JobId]
    attempt: Mapped[AttemptId]
    name: Mapped[str]
    item: Mapped[int]  # 0, or the position in a map's list
    kind: Mapped[str]
    state: Mapped[str]
    result: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))
    error: Mapped[dict[str, Any] | None]
    facts: Mapped[
        dict[str, Any]
    ]  # provenance and counts: prompt, model, route, tokens, cost, cache
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime]
