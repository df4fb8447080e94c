"""Tables of dispatch: who leads it, what was released to whom, and the caps that operators set."""

from datetime import datetime
from typing import Any

from sqlalchemy import CheckConstraint, ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from app.core.db import Base
from app.core.ids import TenantId
from app.jobs.caps import KINDS
from app.jobs.states import sql_list


class DispatchShard(Base):
    """One row a shard: whoever leads it has raised its epoch; an older leader's statements find no row.

    `shards` is how many there are, the same in every row; rows from there on are not in use.
    """

    __tablename__ = "dispatch_shard"

    id: Mapped[int] = mapped_column(primary_key=True)
    shards: Mapped[int]
    epoch: Mapped[int]
    grants: Mapped[dict[str, Any]]  # its part of the slots by kind of worker: shards.kind
    shares: Mapped[dict[str, Any]]  # its part of each lane, beside its other lanes
    wants: Mapped[dict[str, Any]]  # by lane, what its last look would have released: division.Want
    wants_at: Mapped[datetime]
    levels: Mapped[dict[str, Any]]  # what each lane had reached at `levels_at`: fairness.Lane.level
    levels_at: Mapped[datetime]
    learnt_until: Mapped[datetime]  # the end of the last job that costs.py has taken in


class Served(Base):
    """The memory of fairness: predicted cost of what a tenant was given in a lane, decayed to `at`."""

    __tablename__ = "served"

    lane: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[TenantId] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    had_nanousd: Mapped[float]
    at: Mapped[datetime]


class Released(Base):
    """Predicted cost that dispatch released, by tenant, lane and minute: the pace of the queue."""

    __tablename__ = "released"

    tenant: Mapped[TenantId] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    lane: Mapped[str] = mapped_column(primary_key=True)
    minute: Mapped[datetime] = mapped_column(primary_key=True)
    cost_nanousd: Mapped[int]


class WorkflowCost(Base):
    """What jobs of a workflow really cost, as a part of what was predicted: `costs.learnt`."""

    __tablename__ = "workflow_cost"

    tenant: Mapped[TenantId] = mapped_column(ForeignKey("tenant.id"), primary_key=True)
    workflow: Mapped[str] = mapped_column(primary_key=True)
    ratio: Mapped[float]
    at: Mapped[datetime]


class CapRow(Base):
    """A cap that an operator has set: at most so many running jobs at once. `app.jobs.caps.Cap` is its name."""

    __tablename__ = "cap"
    __table_args__ = (
        CheckConstraint(f"kind IN ({sql_list(KINDS)})", name="kind_known"),
        CheckConstraint("max_running >= 0", name="not_negative"),
    )

    owner: Mapped[TenantId] = mapped_column(primary_key=True)  # PLATFORM: over all tenants
    kind: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    max_running: Mapped[int]
    reason: Mapped[str]
    set_by: Mapped[str]
    set_at: Mapped[datetime]
