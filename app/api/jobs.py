"""Jobs: admitted, seen, waited for, cancelled, retried."""

import hashlib
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, SkipValidation, ValidationError

from app.api import asking, callbacks, limits, problems, wire
from app.api.asking import IdempotencyKey
from app.api.bodies import EXAMPLE, JOB_EXAMPLE, JobBody, Lane, NewJob, Status
from app.api.details import ReceiptBody, StepBody
from app.api.openapi import raises
from app.api.routing import JobsRead, JobsWrite, OnPlatform, Route
from app.api.wire import Cursor, Label, Limit, Listed, MomentIn, PathId, answer
from app.bootstrap.platform import ApiPlatform
from app.core import ids
from app.core.errors import Invalid, TowpathError
from app.core.ids import JobId
from app.idempotency import records
from app.intake import admission
from app.intake.admission import Admitted, JobSpec
from app.jobs import states, transitions
from app.jobs.reads import Filter
from app.tenants.keys import Caller
from app.views import jobs as views
from app.views.jobs import JobView

router: Final = APIRouter(route_class=Route, tags=["jobs"])

MAX_BULK: Final = 1_000

_RETRY: Final = "POST /v1/jobs/{id}/retry"

_ADMISSION: Final = (
    "budget_exhausted", "unknown_workflow", "unpriced_model", "idempotency_key_reused", "disabled",
    "draining",
    "idempotency_key_missing", "rate_limited_tokens",
    "queue_full", "overloaded", "duplicate_job",
)  # fmt: skip


class BulkItem(NewJob):
    """A job of a bulk. Its own key makes it safe to send in another bulk."""

    idempotency_key: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,255}$")] | None = None


class BulkBody(BaseModel):
    """Many jobs. Each is admitted or refused by itself."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"jobs": [EXAMPLE]}]})

    # Looked at one by one: a bad item must not refuse its neighbours. What is here is still plain JSON.
    jobs: list[SkipValidation[BulkItem]] = Field(min_length=1, max_length=MAX_BULK)


class BulkOutcome(BaseModel):
    """What became of one item: its job, or its problem."""

    status: int
    replayed: bool = False
    deduplicated: bool = Field(
        False, description="Another job has its unique key: this is that one."
    )
    job: JobBody | None = None
    problem: dict[str, Any] | None = None


class BulkAnswer(BaseModel):
    """What became of each item, in the order of the request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "list",
                    "data": [
                        {
                            "status": 202,
                            "replayed": False,
                            "deduplicated": False,
                            "job": JOB_EXAMPLE,
                            "problem": None,
                        }
                    ],
                }
            ]
        }
    )

    object: str = "list"
    data: list[BulkOutcome]


@router.post("/v1/jobs", status_code=202, response_model=JobBody, responses=raises(*_ADMISSION))
async def admit_job(
    body: NewJob, key: IdempotencyKey, caller: JobsWrite, platform: OnPlatform, request: Request
) -> Response:
    """Admit a job. From the answer on it will be worked on, whatever dies. The same Idempotency-Key and
    body answer with the first job, as it is now, and `Idempotent-Replayed: true`.
    """
    callback = await callbacks.of(platform, caller, body.callback_url, key)
    spec = body.spec(asking.traceparent(request), callback)
    metrics = request.state.metrics
    try:
        admitted = await admission.admit(
            platform.desk, asking.asker(request, caller), spec, key=key
        )
    except TowpathError as refusal:
        metrics.admitted(refusal.code)
        raise
    metrics.admitted(admitted.outcome)
    limits.tell(request, admitted.standings)
    job = await _admitted(platform, caller, spec, admitted)
    headers = {"Location": f"/v1/jobs/{job.id}"}
    if admitted.outcome == "existing":
        headers["Towpath-Deduplicated"] = "true"
    return answer(job, 202, wire.replay(headers, admitted.outcome == "replayed"))


async def _admitted(
    platform: ApiPlatform, caller: Caller, spec: JobSpec, admitted: Admitted
) -> JobBody:
    if admitted.outcome == "created":
        return JobBody.admitted(spec, admitted)
    return JobBody.of(await _seen(platform, caller, admitted.job))


@router.post(
    "/v1/jobs/bulk",
    status_code=207,
    response_model=BulkAnswer,
    responses=raises("idempotency_key_missing", "overloaded"),
)
async def admit_jobs(
    body: BulkBody, key: IdempotencyKey, caller: JobsWrite, platform: OnPlatform, request: Request
) -> Response:
    """Admit up to 1,000 jobs. Each item is stored or refused by itself and answered in its place. An
    Idempotency-Key covers the bulk as it was sent; an item may have an `idempotency_key` of its own.
    """
    trace = asking.traceparent(request)
    sent: list[Any] = list(body.jobs)
    read = [_item(sent, place) for place in range(len(sent))]
    intents = [
        (item.idempotency_key if isinstance(item, BulkItem) else None) or _derived(key, place)
        for place, item in enumerate(read)
    ]
    named = [
        (item.callback_url if isinstance(item, BulkItem) else None, intent)
        for item, intent in zip(read, intents, strict=True)
    ]
    fit: list[tuple[JobSpec, str | None]] = []
    for place, callback in enumerate(await callbacks.found(platform, caller, named)):
        item = read[place]
        if isinstance(item, BulkItem) and isinstance(callback, Invalid):
            read[place] = _inside(callback, place)
        elif isinstance(item, BulkItem) and not isinstance(callback, Invalid):
            fit.append((item.spec(trace, callback), intents[place]))
    ended = await admission.admit_many(platform.desk, asking.asker(request, caller), fit)
    outcomes = iter(zip(fit, ended, strict=True))
    data = [
        _refusal(item, request)
        if isinstance(item, TowpathError)
        else await _outcome(platform, caller, request, *next(outcomes))
        for item in read
    ]
    return answer(BulkAnswer(data=data), 207)


def _item(sent: list[Any], place: int) -> BulkItem | Invalid:
    try:
        return BulkItem.model_validate(sent[place])
    except ValidationError as error:
        faults = [
            problems.fault_of(
                {**fault, "loc": ("body", "jobs", place, *fault["loc"])}, {"jobs": sent}
            )
            for fault in error.errors()
        ]
        return Invalid("The item doesn't fit.", errors=faults)


def _inside(fault: Invalid, place: int) -> Invalid:
    faults = [
        {**one, "pointer": f"/jobs/{place}{one['pointer']}"} for one in fault.context["errors"]
    ]
    return Invalid(fault.message, errors=faults)


def _derived(key: str | None, place: int) -> str | None:
    # A space can't be in a key that a client sends: no item takes the name of another intent.
    return None if key is None else f"{key} {place}"


async def _outcome(
    platform: ApiPlatform,
    caller: Caller,
    request: Request,
    sent: tuple[JobSpec, str | None],
    ended: Admitted | TowpathError,
) -> BulkOutcome:
    if isinstance(ended, TowpathError):
        request.state.metrics.admitted(ended.code)
        return _refusal(ended, request)
    request.state.metrics.admitted(ended.outcome)
    limits.tell(request, ended.standings)
    job = await _admitted(platform, caller, sent[0], ended)
    return BulkOutcome(
        status=202, replayed=ended.outcome == "replayed",
        deduplicated=ended.outcome == "existing", job=job, problem=None,
    )  # fmt: skip


def _refusal(error: TowpathError, request: Request) -> BulkOutcome:
    problem = problems.body_of(error, request.state.request_id)
    return BulkOutcome(status=problem["status"], replayed=False, job=None, problem=problem)


@router.get("/v1/jobs", response_model=Listed[JobBody])
async def list_jobs(
    caller: JobsRead,
    platform: OnPlatform,
    limit: Limit = 20,
    cursor: Cursor = None,
    status: Status | None = None,
    workflow: Annotated[str | None, Query(max_length=64)] = None,
    lane: Lane | None = None,
    tag: Label | None = None,
    created_after: MomentIn | None = None,
    created_before: MomentIn | None = None,
    error_code: Annotated[
        str | None, Query(max_length=64, description="What it failed or expired with.")
    ] = None,
) -> Response:
    """List jobs, newest first. The filters narrow it together; pages are stable under new jobs."""
    wire.after(cursor)
    narrow = Filter(status, workflow, lane, tag, created_after, created_before, error_code)
    async with platform.db.transaction() as session:
        page = await views.listed(session, caller.tenant, narrow, cursor=cursor, limit=limit)
    jobs = [JobBody.of(view) for view in page.items]
    return answer(Listed[JobBody](data=jobs, next_cursor=page.next_cursor))


@router.get(
    "/v1/jobs/{id}",
    response_model=JobBody,
    responses={304: {"description": "It has not changed."}, **raises("not_found")},
)
async def get_job(
    id_: PathId,
    caller: JobsRead,
    platform: OnPlatform,
    request: Request,
    wait: Annotated[
        float, Query(ge=0, le=30, description="Seconds to wait for the job's end, at most.")
    ] = 0,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    """Get a job. With `wait` the answer comes when the job is over or the seconds have passed, whichever
    is first. The `ETag` is of all but the estimate of its start: with `If-None-Match` an unchanged job is an
    empty 304.
    """
    job = JobId(wire.identified("job", id_, "job"))
    watch, seconds = request.state.watch, min(wait, platform.settings.api.wait_seconds)
    with watch.on(job) as place:
        view = await _seen(platform, caller, job)
        if seconds and view.job.state not in states.TERMINAL and await watch.ended(place, seconds):
            view = await _seen(platform, caller, job)
    body = JobBody.of(view)
    shown = answer(body)
    tagged = answer(body.model_copy(update={"estimated_start_at": None}))
    tag = f'"{hashlib.sha256(bytes(tagged.body)).hexdigest()[:32]}"'
    if if_none_match is not None and tag in if_none_match.replace("W/", "").split(", "):
        return Response(status_code=304, headers={"ETag": tag})
    shown.headers["ETag"] = tag
    return shown


async def _seen(platform: ApiPlatform, caller: Caller, job: JobId) -> JobView:
    async with platform.db.transaction() as session:
        return await views.get(session, caller.tenant, job)


@router.get("/v1/jobs/{id}/steps", response_model=Listed[StepBody], responses=raises("not_found"))
async def list_steps(
    id_: PathId,
    caller: JobsRead,
    platform: OnPlatform,
) -> Response:
    """List the steps of a job, every try of each, in the order in which they ended. All in one page."""
    job = JobId(wire.identified("job", id_, "job"))
    async with platform.db.transaction() as session:
        steps = await views.steps(session, caller.tenant, job)
    data = [StepBody.of(step) for step in steps]
    return answer(Listed[StepBody](data=data, next_cursor=None))


@router.get("/v1/jobs/{id}/receipt", response_model=ReceiptBody, responses=raises("not_found"))
async def get_receipt(
    id_: PathId,
    caller: JobsRead,
    platform: OnPlatform,
) -> Response:
    """Get the receipt of a job: every call that money was set aside for, every usage line, and their sum."""
    job = JobId(wire.identified("job", id_, "job"))
    async with platform.db.transaction() as session:
        receipt = await views.receipt(session, caller.tenant, job)
    return answer(ReceiptBody.of(job, receipt))


@router.post(
    "/v1/jobs/{id}/cancel",
    status_code=202,
    response_model=JobBody,
    responses=raises("not_found", "job_finished"),
)
async def cancel_job(
    id_: PathId,
    caller: JobsWrite,
    platform: OnPlatform,
    request: Request,
) -> Response:
    """Cancel a job. One that no worker has ends at once, a running one within a few seconds. Twice is once."""
    job = JobId(wire.identified("job", id_, "job"))
    async with platform.db.transaction() as session:
        await transitions.cancel(
            session, caller.tenant, job, actor=asking.actor(request, caller),
            request_id=request.state.request_id,
        )  # fmt: skip
    return answer(JobBody.of(await _seen(platform, caller, job)), 202)


@router.post(
    "/v1/jobs/{id}/retry",
    status_code=202,
    response_model=JobBody,
    responses=raises(
        "not_found", "job_not_retryable", "idempotency_key_reused", "idempotency_key_missing"
    ),
)
async def retry_job(
    id_: PathId,
    key: IdempotencyKey,
    caller: JobsWrite,
    platform: OnPlatform,
    request: Request,
) -> Response:
    """Retry a failed or expired job. It is a new run that goes on after the last checkpoint."""
    job = JobId(wire.identified("job", id_, "job"))
    replayed = False
    async with platform.db.transaction() as session:
        await views.get(session, caller.tenant, job)
        if key is not None:
            # What it makes is a run, which has no id of its own: a fresh one tells first from again.
            claim = await records.claim(
                session, caller.tenant, _RETRY, key, records.fingerprint(id_), ids.new()
            )
            replayed = claim.replayed
        if not replayed:
            await transitions.retry(
                session, caller.tenant, job, actor=asking.actor(request, caller),
                request_id=request.state.request_id,
            )  # fmt: skip
    view = await _seen(platform, caller, job)
    return answer(JobBody.of(view), 202, wire.replay({}, replayed))
