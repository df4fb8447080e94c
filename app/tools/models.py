"""Tables of what tenants may use, and of the calls that must not be made twice."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey, ForeignKeyConstraint, Index
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base, no_json_null
from app.core.ids import AttemptId, JobId, TenantId, ToolCallId


class ToolGrant(Base):
    """A tool that a tenant may use. `arguments`: a JSON Schema that they must fit beside the tool's own."""

    __tablename__ = "tool_grant"
    __table_args__ = (no_json_null("arguments"),)

    tenant: Mapped[TenantId] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    tool: Mapped[str] = mapped_column(primary_key=True)
    arguments: Mapped[dict[str, Any] | None]
    reason: Mapped[str]
    granted_by: Mapped[str]
    granted_at: Mapped[datetime]


class ToolCall(Base):
    """A keyed or an unsafe call under its effect key: it began, and it is done or nobody knows.

    Forgotten when its step is recorded. Written by effects.py alone.
    """

    __tablename__ = "tool_call"
    __table_args__ = (
        ForeignKeyConstraint(["tenant", "job"], ["job.tenant", "job.id"]),
        CheckConstraint("(ended_at IS NOT NULL) = (result IS NOT NULL OR error IS NOT NULL)", name="ends_with_an_outcome"),
        CheckConstraint("result IS NULL OR error IS NULL", name="has_one_outcome"),
        *map(no_json_null, ("result", "error")),
        Index("tool_call_of_job", "job"),
        Index("tool_call_of_attempt", "attempt"),
    )  # fmt: skip

    key: Mapped[str] = mapped_column(primary_key=True)  # job:step:item:turn, the same over attempts
    tenant: Mapped[TenantId]
    job: Mapped[JobId]
    attempt: Mapped[AttemptId] = mapped_column(ForeignKey("attempt.id"))
    call: Mapped[ToolCallId]  # the last one under this key: only its own outcome ends it
    step: Mapped[str]
    item: Mapped[int]
    tool: Mapped[str]
    version: Mapped[str]
    effect: Mapped[str]
    arguments: Mapped[dict[str, Any]]
    tries: Mapped[int]
    result: Mapped[Any | None] = mapped_column(JSONB(none_as_null=True))  # {"value": …}
    error: Mapped[dict[str, Any] | None]  # its result was refused; the effect stands
    begun_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
