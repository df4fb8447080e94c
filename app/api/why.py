"""Why a job is not running."""

from typing import Any, Final, Literal

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api import wire
from app.api.openapi import raises
from app.api.routing import JobsRead, OnPlatform, Route
from app.api.wire import Moment, Money, PathId, answer
from app.core import ids
from app.core.ids import JobId
from app.jobs import states
from app.views import why as views
from app.views.why import Why

router: Final = APIRouter(route_class=Route, tags=["jobs"])

Code = Literal[
    "approval", "backoff", "budget", "cancelling", "cap", "disabled", "dispatcher", "ended",
    "intervention", "lane_full", "no_workers", "on_its_way", "paused", "quarantine", "running", "scheduled",
    "signal", "tenant_suspended", "turn", "waiting",
]  # fmt: skip

_EXAMPLE: Final[dict[str, Any]] = {
    "object": "job.why",
    "job": "job_01kb1c2v3e4m5n6p7q8r9s0t1v",
    "status": "queued",
    "reasons": [
        {
            "code": "paused", "detail": "The lane batch is paused: the provider is moving",
            "scope": {"kind": "lane", "name": "batch", "of": "platform"},
            "since": "2026-11-25T06:00:00.000000Z", "by": "key_01kb1c2v3e4m5n6p7q8r9s0t1v",
        },
        {
            "code": "turn", "detail": "It is number 3 of your jobs in this lane; tenants take turns.",
            "position": 3, "estimated_start_at": None,
        },
    ],
    "queue_position": 3,
    "estimated_start_at": None,
}  # fmt: skip


class ScopeBody(BaseModel):
    """What a reason is about. A limit over all tenants has no name."""

    kind: Literal["tenant", "lane", "workflow", "all", "key", "resource"]
    name: str | None
    of: Literal["tenant", "platform"]


class ReasonBody(BaseModel):
    """One cause. Which of the other fields there are depends on the code."""

    code: Code
    detail: str
    scope: ScopeBody | None = Field(None, description="paused, cap.")
    by: str | None = Field(None, description="paused: who did it.")
    since: Moment | None = Field(None, description="paused, running, cancelling, ended.")
    until: Moment | None = Field(None, description="scheduled, backoff: not before.")
    max: int | None = Field(None, description="cap: how many may run.")
    running: int | None = Field(None, description="cap: how many do.")
    need: Money | None = Field(None, description="budget: what its next call may cost.")
    free: Money | None = Field(None, description="budget: what is free.")
    position: int | None = Field(None, description="turn: as `queue_position`.")
    estimated_start_at: Moment | None = Field(None, description="turn.")


class WhyBody(BaseModel):
    """Why a job is not running. The first reason is what holds it up now; those after it would then."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    object: Literal["job.why"] = "job.why"
    job: str
    status: str
    reasons: list[ReasonBody]
    queue_position: int | None
    estimated_start_at: Moment | None

    @classmethod
    def of(cls, found: Why) -> "WhyBody":
        """What was found."""
        reasons = [
            ReasonBody.model_validate({"code": one.code, "detail": one.detail, **one.facts})
            for one in found.reasons
        ]
        return cls(
            job=ids.wire("job", found.job.id), status=states.SHOWN[found.job.state],
            reasons=reasons, queue_position=found.queue_position,
            estimated_start_at=found.estimated_start_at,
        )  # fmt: skip


@router.get("/v1/jobs/{id}/why", response_model=WhyBody, responses=raises("not_found"))
async def get_why(id_: PathId, caller: JobsRead, platform: OnPlatform) -> Response:
    """Say why a job is not running. The first reason is what holds it up now."""
    job = JobId(wire.identified("job", id_, "job"))
    async with platform.db.transaction() as session:
        found = await views.why(session, caller.tenant, job, platform.settings.scheduling)
    return answer(WhyBody.of(found))
