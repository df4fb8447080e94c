"""Schedules: jobs that the clock admits."""

import itertools
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from app.api import asking, callbacks, wire
from app.api.asking import IdempotencyKey
from app.api.bodies import EXAMPLE, MAX_PAIRS, JobTemplate, LaneOut, UniqueKey
from app.api.openapi import raises
from app.api.routing import JobsRead, JobsWrite, OnPlatform, Route
from app.api.wire import Cursor, Label, Limit, Listed, Moment, MomentIn, Money, PathId, answer
from app.bootstrap.platform import ApiPlatform
from app.core import clock, ids, money
from app.core.errors import Invalid
from app.core.ids import ScheduleId
from app.idempotency import records
from app.intake import admission
from app.intake.admission import JobSpec
from app.schedules import book, firing, timing
from app.schedules.book import Kept, Wish
from app.schedules.models import ScheduleRun
from app.schedules.timing import Rule
from app.tenants.keys import Caller

router: Final = APIRouter(route_class=Route, tags=["schedules"])

OWN_PAIRS: Final = 2  # of the metadata: which schedule, and for which time

_ROUTE: Final = "POST /v1/schedules"
_JOB: Final = {name: EXAMPLE[name] for name in ("workflow", "input", "lane", "max_cost", "tags")}
_NEW: Final[dict[str, Any]] = {
    "name": "nightly report", "cron": "30 2 * * *", "time_zone": "Europe/Berlin", "job": _JOB,
}  # fmt: skip
_ID: Final = "sch_01kb1c2v3e4m5n6p7q8r9s0t1v"
_SCHEDULE: Final = _NEW | {
    "id": _ID, "object": "schedule", "missed_runs": "run_once", "overlap": "skip", "jitter_seconds": 0,
    "status": "active", "next_run_at": "2026-11-26T01:30:00.000000Z",
    "created_at": "2026-11-25T06:00:00.000000Z", "updated_at": "2026-11-25T06:00:00.000000Z",
    "job": _JOB | {
        "priority": 4, "max_attempts": None, "metadata": {}, "end_user": None, "session": None,
        "callback_url": None, "unique_key": None,
    },
}  # fmt: skip
_RUN: Final[dict[str, Any]] = {
    "id": "run_01kb1c2v3e4m5n6p7q8r9s0t1v", "object": "schedule_run", "schedule": _ID,
    "due_at": "2026-11-26T01:30:00.000000Z", "by_hand": False, "status": "admitted", "missed": 0,
    "job": "job_01kb1c2v3e4m5n6p7q8r9s0t1v", "code": None, "detail": None,
    "at": "2026-11-26T01:30:00.412000Z",
}  # fmt: skip

Cron = Annotated[str, Field(min_length=1, max_length=timing.CRON_CHARS)]
Missed = Literal["skip", "run_once", "run_all"]
Overlap = Literal["skip", "queue", "cancel_running"]
Jitter = Annotated[StrictInt, Field(ge=0, le=timing.MAX_JITTER_SECONDS)]
Zone = Annotated[str, Field(min_length=1, max_length=64)]
RunState = Literal["pending", "admitted", "refused", "skipped", "missed"]

_CRON_SAID: Final = (
    "Minute, hour, day of month, month, day of week. A time of day that a change of the clock leaves out "
    "fires once right after the gap, one that comes twice fires once; where minute or hour begin with "
    "`*`, the expression follows the time that really passes."
)
_MISSED_SAID: Final = (
    "What becomes of times that passed while nothing could fire. `skip`: nothing. `run_once`: one run for all "
    f"of them. `run_all`: a run each, the latest {timing.CATCH_UP} of the last {timing.LOOK_BACK.days} days."
)
_OVERLAP_SAID: Final = (
    "Where an earlier job of this schedule has not ended. `skip`: this time makes none. `queue`: its job "
    "comes when that one has ended. `cancel_running`: that one is cancelled."
)
_JITTER_SAID: Final = "Each time is later by up to so many seconds, always the same for one time."


class NewSchedule(BaseModel):
    """A schedule to make."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [_NEW]})

    name: Label
    cron: Cron = Field(description=_CRON_SAID)
    time_zone: Zone = Field("UTC", description="A name of the IANA database.")
    missed_runs: Missed = Field("run_once", description=_MISSED_SAID)
    overlap: Overlap = Field("skip", description=_OVERLAP_SAID)
    jitter_seconds: Jitter = Field(0, description=_JITTER_SAID)
    paused: StrictBool = False
    job: JobTemplate = Field(
        description="The job of each run. It is admitted as a request would be, and may be refused."
    )


class ScheduleChange(BaseModel):
    """What to change. What isn't given stays; a job is given whole."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"paused": True}]})

    name: Label | None = None
    cron: Cron | None = None
    time_zone: Zone | None = None
    missed_runs: Missed | None = None
    overlap: Overlap | None = None
    jitter_seconds: Jitter | None = None
    paused: StrictBool | None = Field(
        None, description="A pause gives up the runs that wait; after it nothing is caught up on."
    )
    job: JobTemplate | None = None


class TemplateBody(BaseModel):
    """The job of each run."""

    workflow: str
    input: dict[str, Any]
    lane: LaneOut
    priority: int
    max_cost: Money | None
    max_attempts: int | None
    metadata: dict[str, Any]
    tags: list[str]
    end_user: str | None
    session: str | None
    callback_url: str | None
    unique_key: UniqueKey | None

    @classmethod
    def of(cls, spec: JobSpec) -> "TemplateBody":
        """As it was asked for."""
        cost, unique = spec.max_cost_nanousd, spec.unique
        return cls(
            workflow=spec.workflow if spec.version is None else f"{spec.workflow}@{spec.version}",
            input=spec.input, lane=spec.lane, priority=spec.priority,
            max_cost=None if cost is None else money.to_wire(cost), max_attempts=spec.max_attempts,
            metadata=spec.metadata, tags=list(spec.tags), end_user=spec.end_user,
            session=spec.session, callback_url=spec.callback_url,
            unique_key=None if unique is None else UniqueKey(
                key=unique.name, window_seconds=unique.window_seconds, on_conflict=unique.policy),
        )  # fmt: skip


class ScheduleBody(BaseModel):
    """A schedule."""

    model_config = ConfigDict(json_schema_extra={"examples": [_SCHEDULE]})

    id: str
    object: Literal["schedule"] = "schedule"
    name: str
    cron: str
    time_zone: str
    missed_runs: Missed
    overlap: Overlap
    jitter_seconds: int
    status: Literal["active", "paused"]
    next_run_at: Moment | None = Field(description="With its jitter; null while it is paused.")
    job: TemplateBody
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(cls, kept: Kept) -> "ScheduleBody":
        """A schedule as it was read."""
        wish = kept.wish
        return cls(
            id=book.wire(kept.id), name=wish.name, cron=wish.cron, time_zone=wish.time_zone,
            missed_runs=wish.missed_runs, overlap=wish.overlap, jitter_seconds=wish.jitter_seconds,
            status="paused" if wish.paused else "active", next_run_at=kept.next_run_at,
            job=TemplateBody.of(wish.job), created_at=kept.created_at, updated_at=kept.updated_at,
        )  # fmt: skip


class RunBody(BaseModel):
    """One time of a schedule, and what became of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RUN]})

    id: str
    object: Literal["schedule_run"] = "schedule_run"
    schedule: str
    due_at: Moment = Field(description="By the expression, without jitter.")
    by_hand: bool
    status: RunState = Field(
        description="`pending`: it waits for its turn. `admitted`: `job` is its job. `refused`: admission "
        "said no, `code` and `detail` say why. `skipped`: an earlier job had not ended. `missed`: its time "
        "passed while nothing could fire."
    )
    missed: int = Field(description="Times before this one that passed without a run of their own.")
    job: str | None
    code: str | None
    detail: str | None
    at: Moment = Field(description="When its state was last written.")

    @classmethod
    def of(cls, run: ScheduleRun) -> "RunBody":
        """A run as it was read."""
        return cls(
            id=ids.wire("run", run.id), schedule=book.wire(run.schedule), due_at=run.due_at,
            by_hand=run.by_hand, status=run.outcome, missed=run.missed,
            job=None if run.job is None else ids.wire("job", run.job), code=run.code,
            detail=run.detail, at=run.at,
        )  # fmt: skip


class PreviewBody(BaseModel):
    """When a schedule would fire."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "cron": "30 2 * * *",
                    "time_zone": "Europe/Berlin",
                    "times": ["2026-11-26T01:30:00.000000Z", "2026-11-27T01:30:00.000000Z"],
                }
            ]
        }
    )

    cron: str
    time_zone: str
    times: list[Moment] = Field(
        description="In UTC, with the jitter of the schedule, if it is one."
    )


Ahead = Annotated[int, Query(ge=1, le=100, description="How many times.")]
From = Annotated[MomentIn | None, Query(description="Times after this one; now, if none is given.")]


@router.post(
    "/v1/schedules",
    status_code=201,
    response_model=ScheduleBody,
    responses=raises(
        "schedule_exists", "unknown_workflow", "unpriced_model", "idempotency_key_reused",
        "idempotency_key_missing",
    ),
)  # fmt: skip
async def create_schedule(
    body: NewSchedule,
    key: IdempotencyKey,
    caller: JobsWrite,
    platform: OnPlatform,
    request: Request,
) -> Response:
    """Make a schedule. Its job is looked at as admission would, but for limits and budget: those count when it
    fires.
    """
    made, replayed = ScheduleId(ids.new()), False
    spec = await _checked(platform, caller, body.job)
    wish = Wish(
        body.name, _spaced(body.cron), spec, body.time_zone, body.missed_runs, body.overlap,
        body.jitter_seconds, body.paused,
    )  # fmt: skip
    async with platform.db.transaction() as session:
        if key is not None:
            intent = records.fingerprint(body.model_dump(mode="json"))
            claim = await records.claim(session, caller.tenant, _ROUTE, key, intent, made)
            made, replayed = ScheduleId(claim.object), claim.replayed
        if replayed:
            kept = await book.get(session, caller.tenant, made)
        else:
            kept = await book.create(
                session, platform.settings.schedules, caller.tenant, made, wish, key=caller.key,
                actor=asking.actor(request, caller),
            )  # fmt: skip
    headers = {"Location": f"/v1/schedules/{book.wire(made)}"}
    return answer(ScheduleBody.of(kept), 201, wire.replay(headers, replayed))


@router.get("/v1/schedules", response_model=Listed[ScheduleBody])
async def list_schedules(
    caller: JobsRead, platform: OnPlatform, limit: Limit = 20, cursor: Cursor = None
) -> Response:
    """List the tenant's schedules, newest first."""
    async with platform.db.transaction() as session:
        page = await book.listed(session, caller.tenant, limit=limit, cursor=cursor)
    data = [ScheduleBody.of(one) for one in page.items]
    return answer(Listed[ScheduleBody](data=data, next_cursor=page.next_cursor))


@router.get("/v1/schedules/preview", response_model=PreviewBody)
async def preview_schedule(
    caller: JobsRead,
    platform: OnPlatform,
    cron: Annotated[str, Query(max_length=timing.CRON_CHARS, description="Five fields.")],
    time_zone: Annotated[str, Query(max_length=64)] = "UTC",
    after: From = None,
    limit: Ahead = 10,
) -> Response:
    """Show when an expression would fire, before a schedule is made of it."""
    rule = Rule(_spaced(cron), time_zone)
    start = after or clock.now()
    timing.check(rule, start, platform.settings.schedules.min_period)
    times = list(itertools.islice(timing.upcoming(rule, start), limit))
    return answer(PreviewBody(cron=rule.cron, time_zone=time_zone, times=times))


@router.get("/v1/schedules/{id}", response_model=ScheduleBody, responses=raises("not_found"))
async def get_schedule(id_: PathId, caller: JobsRead, platform: OnPlatform) -> Response:
    """Get one schedule."""
    return answer(ScheduleBody.of(await _kept(platform, caller, _schedule(id_))))


@router.get("/v1/schedules/{id}/next", response_model=PreviewBody, responses=raises("not_found"))
async def get_next_times(
    id_: PathId, caller: JobsRead, platform: OnPlatform, after: From = None, limit: Ahead = 10
) -> Response:
    """Show when a schedule fires next; of a paused one, when it would."""
    kept = await _kept(platform, caller, _schedule(id_))
    rule = kept.wish.rule
    times = [
        timing.shifted(rule, kept.id, due)
        for due in itertools.islice(timing.upcoming(rule, after or clock.now()), limit)
    ]
    return answer(PreviewBody(cron=rule.cron, time_zone=rule.time_zone, times=times))


@router.patch(
    "/v1/schedules/{id}",
    response_model=ScheduleBody,
    responses=raises("not_found", "schedule_exists", "unknown_workflow", "unpriced_model"),
)
async def change_schedule(
    id_: PathId, body: ScheduleChange, caller: JobsWrite, platform: OnPlatform, request: Request
) -> Response:
    """Change, pause or resume a schedule. Its next time is found anew, from now on."""
    schedule = _schedule(id_)
    await _kept(platform, caller, schedule)
    given = {
        name: value for name, value in body if name in body.model_fields_set and value is not None
    }
    if body.job is not None:
        given["job"] = await _checked(platform, caller, body.job)
    if body.cron is not None:
        given["cron"] = _spaced(body.cron)
    async with platform.db.transaction() as session:
        changed = await book.change(
            session, platform.settings.schedules, caller.tenant, schedule, given,
            actor=asking.actor(request, caller),
        )  # fmt: skip
    return answer(ScheduleBody.of(changed))


@router.delete(
    "/v1/schedules/{id}", status_code=204, response_class=Response, responses=raises("not_found")
)
async def delete_schedule(
    id_: PathId, caller: JobsWrite, platform: OnPlatform, request: Request
) -> Response:
    """Delete a schedule and the record of its runs. Their jobs stay, and go on."""
    schedule = _schedule(id_)
    async with platform.db.transaction() as session:
        await book.delete(session, caller.tenant, schedule, actor=asking.actor(request, caller))
    return Response(status_code=204)


@router.post(
    "/v1/schedules/{id}/run",
    status_code=202,
    response_model=RunBody,
    responses=raises(
        "not_found", "budget_exhausted", "unknown_workflow", "unpriced_model", "disabled",
        "idempotency_key_reused", "idempotency_key_missing", "rate_limited_tokens", "queue_full",
        "overloaded", "duplicate_job",
    ),
)  # fmt: skip
async def run_schedule(
    id_: PathId, key: IdempotencyKey, caller: JobsWrite, platform: OnPlatform, request: Request
) -> Response:
    """Admit the job of a schedule now, also of a paused one. Earlier jobs don't matter, and the next time by the
    clock stays as it is.
    """
    schedule = _schedule(id_)
    asker = asking.asker(request, caller)
    run, replayed = await firing.run_now(platform.desk, asker, schedule, key=key)
    async with platform.db.transaction() as session:
        made = await book.find_run(session, caller.tenant, run)
    return answer(RunBody.of(made), 202, wire.replay({}, replayed))


@router.get(
    "/v1/schedules/{id}/runs", response_model=Listed[RunBody], responses=raises("not_found")
)
async def list_runs(
    id_: PathId, caller: JobsRead, platform: OnPlatform, limit: Limit = 20, cursor: Cursor = None
) -> Response:
    """List what a schedule did, newest first: the last hundred runs, and those that wait."""
    schedule = _schedule(id_)
    async with platform.db.transaction() as session:
        page = await book.runs(session, caller.tenant, schedule, limit=limit, cursor=cursor)
    data = [RunBody.of(one) for one in page.items]
    return answer(Listed[RunBody](data=data, next_cursor=page.next_cursor))


async def _checked(platform: ApiPlatform, caller: Caller, job: JobTemplate) -> JobSpec:
    """The job as each run asks for it. Raises what admission would, with pointers under /job."""
    if len(job.metadata) > MAX_PAIRS - OWN_PAIRS:
        limit = MAX_PAIRS - OWN_PAIRS
        raise Invalid.at("/job/metadata", f"at most {limit} pairs: a schedule adds two of its own")
    try:
        await callbacks.of(platform, caller, job.callback_url, None)
        spec = job.spec(None)
        await admission.check(platform.desk, caller.tenant, spec)
    except Invalid as fault:
        inside = [{**one, "pointer": f"/job{one['pointer']}"} for one in fault.context["errors"]]
        raise Invalid(fault.message, errors=inside) from fault
    return spec


async def _kept(platform: ApiPlatform, caller: Caller, schedule: ScheduleId) -> Kept:
    async with platform.db.transaction() as session:
        return await book.get(session, caller.tenant, schedule)


def _schedule(text: str) -> ScheduleId:
    return ScheduleId(wire.identified("sch", text, "schedule"))


def _spaced(cron: str) -> str:
    return " ".join(cron.split())
