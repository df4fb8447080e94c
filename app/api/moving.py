"""Jobs that wait are moved: one by its tenant, many by operators."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api import asking, wire
from app.api.bodies import JobBody, Lane
from app.api.openapi import raises
from app.api.routing import Admin, JobsWrite, OnPlatform, Route
from app.api.wire import Label, PathId, answer
from app.core.ids import JobId
from app.intake import moving as intake
from app.jobs import moving
from app.jobs.moving import Place, Which
from app.switches.pauses import MAX_REASON_CHARS
from app.tenants import directory
from app.views import jobs as views

router: Final = APIRouter(route_class=Route, tags=["jobs"])

_MANY: Final[dict[str, Any]] = {
    "which": {"tenant": "acme", "workflow": None, "tag": None, "lane": "standard", "status": None},
    "to": {"lane": "batch", "priority": None},
    "reason": "the nightly load is in the way",
}  # fmt: skip


class PlaceBody(BaseModel):
    """Where a job goes: a lane, a priority, or both."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"lane": "batch", "priority": 2}]}
    )

    lane: Lane | None = None
    priority: Annotated[int, Field(ge=0, le=9)] | None = None

    @model_validator(mode="after")
    def _somewhere(self) -> "PlaceBody":
        if self.lane is None and self.priority is None:
            raise ValueError("a lane, a priority, or both")
        return self


class WhichBody(BaseModel):
    """Which of the jobs that wait. What is left out may be anything, but not all of it."""

    model_config = ConfigDict(extra="forbid")

    tenant: Label | None = Field(None, description="The tenant's slug or id.")
    workflow: Label | None = None
    tag: Label | None = None
    lane: Lane | None = None
    status: Literal["scheduled", "queued", "waiting"] | None = None


class ManyBody(BaseModel):
    """Many jobs to move."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_MANY]})

    which: WhichBody
    to: PlaceBody
    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON_CHARS)]


class MovedBody(BaseModel):
    """What became of them."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"object": "jobs.moved", "moved": 812, "kept": 3, "more": False}]
        }
    )

    object: Literal["jobs.moved"] = "jobs.moved"
    moved: int
    kept: int = Field(description="Were released or ended while they were looked at, and stay.")
    more: bool = Field(description="There are more: ask again.")


@router.post(
    "/v1/jobs/{id}/move",
    response_model=JobBody,
    responses=raises("not_found", "job_not_waiting", "draining", "queue_full", "overloaded"),
)
async def move_job(
    body: PlaceBody, id_: PathId, caller: JobsWrite, platform: OnPlatform, request: Request
) -> Response:
    """Move a job that waits to another lane or priority. It takes the place that it would have, had it been
    sent so. A job that a worker has, or that is on its way to one, stays: 409 `job_not_waiting`.
    """
    job = JobId(wire.identified("job", id_, "job"))
    asker = asking.asker(request, caller)
    await intake.move(platform.desk, asker, job, Place(body.lane, body.priority))
    async with platform.db.transaction() as session:
        return answer(JobBody.of(await views.get(session, caller.tenant, job)))


@router.post("/v1/admin/jobs/move", response_model=MovedBody, responses=raises("not_found"))
async def move_jobs(
    body: ManyBody, caller: Admin, platform: OnPlatform, request: Request
) -> Response:
    """Move up to 10,000 of the jobs that wait. Each tells of it by an event; the trail has an entry for every
    500 jobs of a tenant.
    """
    which = body.which
    tenant = None
    if which.tenant is not None:
        async with platform.db.transaction() as session:
            tenant = (await directory.named(session, which.tenant)).id
    done = await moving.move_many(
        platform.db, Which(tenant, which.workflow, which.tag, which.lane, which.status),
        Place(body.to.lane, body.to.priority), head_start=platform.settings.intake.head_start,
        actor=asking.actor(request, caller), reason=body.reason,
    )  # fmt: skip
    return answer(MovedBody(moved=done.moved, kept=done.kept, more=done.more))
