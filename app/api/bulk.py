"""Many jobs by a filter: cancelled or retried, as a job of its own."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api import asking, wire
from app.api.asking import IdempotencyKey
from app.api.bodies import JobBody, Lane
from app.api.openapi import raises
from app.api.routing import JobsWrite, OnPlatform, Route
from app.api.wire import Label, MomentIn, answer
from app.bootstrap.platform import ApiPlatform
from app.core import clock
from app.intake import admission
from app.intake.admission import JobSpec
from app.tenants.keys import Caller
from app.views import jobs as views

router: Final = APIRouter(route_class=Route, tags=["jobs"])

_CANCEL: Final = "POST /v1/jobs/cancel"
_RETRY: Final = "POST /v1/jobs/retry"
_PRIORITY: Final = 9  # whoever cancels is in a hurry
_REFUSALS: Final = (
    "idempotency_key_reused", "idempotency_key_missing", "unknown_workflow", "disabled", "budget_exhausted",
    "rate_limited_tokens", "queue_full", "overloaded",
)  # fmt: skip


class JobFilter(BaseModel):
    """Which jobs: those that fit all that is given, and at least one thing is."""

    model_config = ConfigDict(extra="forbid")

    workflow: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    lane: Lane | None = None
    tag: Label | None = None
    created_after: MomentIn | None = None
    created_before: MomentIn | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "JobFilter":
        if not self.given():
            raise ValueError("give at least one part of a filter")
        return self

    def given(self) -> dict[str, Any]:
        """What is given, as the input of the job holds it."""
        return {
            name: clock.wire(value) if isinstance(value, datetime) else value
            for name, value in self.model_dump(exclude_none=True).items()
        }


class CancelFilter(JobFilter):
    """Which jobs to cancel. Those that have ended are not looked at."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"tag": "nightly"}]})

    status: Literal["scheduled", "queued", "running", "waiting"] | None = None


class RetryFilter(JobFilter):
    """Which jobs to retry, of those that failed or expired."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": "failed", "error_code": "provider_failed"}]}
    )

    status: Literal["failed", "expired"] | None = None
    error_code: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")] | None = None


@router.post(
    "/v1/jobs/cancel", status_code=202, response_model=JobBody, responses=raises(*_REFUSALS)
)
async def cancel_jobs(
    body: CancelFilter,
    key: IdempotencyKey,
    caller: JobsWrite,
    platform: OnPlatform,
    request: Request,
) -> Response:
    """Cancel all jobs that fit a filter and were admitted before this request. The answer is a job that does
    it: its `progress` says how far it is, its `output` how many were `cancelled`, `stopping` (running, and
    told to stop) and `skipped`. The platform's own jobs are left alone unless `workflow` names theirs.
    """
    return await _admit(platform, caller, request, key, "towpath.cancel", _CANCEL, body)


@router.post(
    "/v1/jobs/retry", status_code=202, response_model=JobBody, responses=raises(*_REFUSALS)
)
async def retry_jobs(
    body: RetryFilter,
    key: IdempotencyKey,
    caller: JobsWrite,
    platform: OnPlatform,
    request: Request,
) -> Response:
    """Retry all failed and expired jobs that fit a filter, each as a new run from its last checkpoint. The
    answer is a job that does it: its `output` says how many were `retried` and `skipped`.
    """
    return await _admit(platform, caller, request, key, "towpath.retry", _RETRY, body)


async def _admit(
    platform: ApiPlatform,
    caller: Caller,
    request: Request,
    key: str | None,
    workflow: str,
    route: str,
    body: JobFilter,
) -> Response:
    spec = JobSpec(
        workflow, {"filter": body.given()}, lane="interactive", priority=_PRIORITY,
        traceparent=asking.traceparent(request),
    )  # fmt: skip
    admitted = await admission.admit(
        platform.desk, asking.asker(request, caller), spec, key=key, route=route
    )
    async with platform.db.transaction() as session:
        job = JobBody.of(await views.get(session, caller.tenant, admitted.job))
    headers = {"Location": f"/v1/jobs/{job.id}"}
    return answer(job, 202, wire.replay(headers, admitted.outcome == "replayed"))
