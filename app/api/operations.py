"""Operators' routes over the queue: pause, resume and drain; lanes and workers as they stand."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api import asking, wire
from app.api.bodies import Lane
from app.api.openapi import raises
from app.api.routing import Admin, OnPlatform, Route
from app.api.wire import Label, Listed, Moment, Money, PathId, answer
from app.audit.trail import PLATFORM
from app.bootstrap.platform import ApiPlatform
from app.core import ids, money
from app.switches import pauses
from app.switches.models import Pause
from app.switches.pauses import Scope
from app.tenants import directory
from app.tenants.keys import Caller
from app.views import operations as views
from app.views.operations import LaneView, Part, WorkerView

router: Final = APIRouter(route_class=Route, tags=["operators"])

Verb = Literal["pause", "resume", "drain"]
TenantName = Annotated[
    str, Path(alias="tenant", max_length=64, description="The tenant's slug or id.")
]
VerbName = Annotated[Verb, Path(alias="verb", description="pause, resume or drain.")]

_BY: Final = {
    "reason": "the provider is moving",
    "by": "key_01kb1c2v3e4m5n6p7q8r9s0t1v",
    "since": "2026-11-25T06:00:00.000000Z",
}
_PART: Final[dict[str, Any]] = {
    "object": "queue.part", "kind": "lane", "name": "batch", "tenant": None, "paused": _BY,
    "draining": None, "left": {"queued": 120, "running": 3, "waiting": 0}, "empty": False,
}  # fmt: skip
_WORKER: Final[dict[str, Any]] = {
    "id": "wrk_01kb1c2v3e4m5n6p7q8r9s0t1v", "object": "worker", "host": "node-7", "pid": 4211,
    "lanes": ["standard", "batch"], "slots": 200, "running": 3, "state": "held",
    "started_at": "2026-11-25T05:00:00.000000Z", "seen_at": "2026-11-25T06:00:00.000000Z",
    "paused": None, "draining": _BY,
}  # fmt: skip
_LANE: Final[dict[str, Any]] = {
    "object": "lane", "name": "batch", "share": 2, "queued": 120, "queued_cost": "0.024",
    "oldest_seconds": 31, "running": 3, "workers": 2, "slots": 400, "paused": _BY, "draining": None,
}  # fmt: skip


class ReasonBody(BaseModel):
    """Why an operator does it. It stays in the audit trail, and tenants may read it."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"reason": "the provider is moving"}]}
    )

    reason: Annotated[str, Field(min_length=1, max_length=pauses.MAX_REASON_CHARS)]


class PartReason(ReasonBody):
    """Why, and of which tenant alone."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"reason": "the provider is moving", "tenant": "acme"}]},
    )

    tenant: Label | None = Field(None, description="A tenant's slug or id; without it, of all.")


class HoldBody(BaseModel):
    """Who did it, when and why."""

    reason: str
    by: str
    since: Moment

    @classmethod
    def of(cls, holds: Mapping[str, Pause], mode: str) -> "HoldBody | None":
        """What holds in this mode."""
        row = holds.get(mode)
        return None if row is None else cls(reason=row.reason, by=row.set_by, since=row.set_at)


class LeftBody(BaseModel):
    """What there still is, each up to 10,000. Scheduled jobs count as waiting."""

    queued: int
    running: int
    waiting: int


class PartBody(BaseModel):
    """A part of the queue. Paused: nothing of it is released. Draining: nothing of it is admitted."""

    model_config = ConfigDict(json_schema_extra={"examples": [_PART]})

    object: Literal["queue.part"] = "queue.part"
    kind: Literal["lane", "tenant", "worker", "workflow"]
    name: str
    tenant: str | None = Field(description="The slug; null: of all tenants.")
    paused: HoldBody | None
    draining: HoldBody | None
    left: LeftBody
    empty: bool = Field(description="Nothing is left of it.")

    @classmethod
    def of(cls, part: Part) -> "PartBody":
        """A part as it was read."""
        left = LeftBody(
            queued=part.left.queued, running=part.left.running, waiting=part.left.waiting
        )
        return cls.model_validate(
            {
                "kind": part.scope.kind, "name": part.name, "tenant": part.slug,
                "paused": HoldBody.of(part.holds, "pause"), "left": left,
                "draining": HoldBody.of(part.holds, "drain"), "empty": part.left.none,
            }
        )  # fmt: skip


class WorkerBody(BaseModel):
    """A worker process. `held` takes no new work; `drained` has none left and may be stopped."""

    model_config = ConfigDict(json_schema_extra={"examples": [_WORKER]})

    id: str
    object: Literal["worker"] = "worker"
    host: str
    pid: int
    lanes: list[str]
    slots: int
    running: int
    state: Literal["live", "held", "drained", "stopping", "silent"]
    started_at: Moment
    seen_at: Moment
    paused: HoldBody | None
    draining: HoldBody | None

    @classmethod
    def of(cls, view: WorkerView) -> "WorkerBody":
        """A worker as it was read."""
        return cls.model_validate(
            {
                "id": ids.wire("wrk", view.id), "host": view.host, "pid": view.pid,
                "lanes": list(view.lanes), "slots": view.slots, "running": view.running,
                "state": view.state, "started_at": view.started_at, "seen_at": view.seen_at,
                "paused": HoldBody.of(view.holds, "pause"),
                "draining": HoldBody.of(view.holds, "drain"),
            }
        )  # fmt: skip


class LaneBody(BaseModel):
    """A lane over all tenants. What waits is a few seconds old; workers and slots are those that take work."""

    model_config = ConfigDict(json_schema_extra={"examples": [_LANE]})

    object: Literal["lane"] = "lane"
    name: str
    share: int = Field(description="Its part of the slots where all lanes are busy.")
    queued: int
    queued_cost: Money = Field(description="Predicted cost of what waits.")
    oldest_seconds: int
    running: int
    workers: int
    slots: int
    paused: HoldBody | None
    draining: HoldBody | None

    @classmethod
    def of(cls, view: LaneView) -> "LaneBody":
        """A lane as it was read."""
        return cls(
            name=view.name, share=view.share, queued=view.queued,
            queued_cost=money.to_wire(view.cost_nanousd), oldest_seconds=int(view.oldest_seconds),
            running=view.running, workers=view.workers, slots=view.slots,
            paused=HoldBody.of(view.holds, "pause"), draining=HoldBody.of(view.holds, "drain"),
        )  # fmt: skip


@router.get("/v1/admin/pauses", response_model=Listed[PartBody])
async def list_pauses(caller: Admin, platform: OnPlatform) -> Response:
    """List everything that is paused or drained, with what is left of it. All in one page."""
    async with platform.db.transaction() as session:
        found = await views.parts(session)
    return answer(Listed[PartBody](data=[PartBody.of(one) for one in found], next_cursor=None))


@router.get("/v1/admin/lanes", response_model=Listed[LaneBody])
async def list_lanes(caller: Admin, platform: OnPlatform) -> Response:
    """List the lanes with what waits, what runs and who serves them. All in one page."""
    async with platform.db.transaction() as session:
        found = await views.lanes(session, platform.settings.scheduling)
    return answer(Listed[LaneBody](data=[LaneBody.of(one) for one in found], next_cursor=None))


@router.get("/v1/admin/workers", response_model=Listed[WorkerBody])
async def list_workers(caller: Admin, platform: OnPlatform) -> Response:
    """List the workers that were heard of in the last hour, the youngest first. All in one page."""
    async with platform.db.transaction() as session:
        found = await views.workers(session, platform.settings.scheduling)
    return answer(Listed[WorkerBody](data=[WorkerBody.of(one) for one in found], next_cursor=None))


@router.post(
    "/v1/admin/lanes/{lane}/{verb}", response_model=PartBody, responses=raises("not_found")
)
async def hold_lane(
    body: PartReason,
    lane: Lane,
    verb: VerbName,
    caller: Admin,
    platform: OnPlatform,
    request: Request,
) -> Response:
    """Pause, resume or drain a lane, of all tenants or of one. Twice is once."""
    return await _move(platform, caller, request, verb, body.reason, "lane", lane, body.tenant)


@router.post(
    "/v1/admin/workflows/{name}/{verb}", response_model=PartBody, responses=raises("not_found")
)
async def hold_workflow(
    body: PartReason,
    name: Annotated[str, Path(max_length=pauses.MAX_NAME_CHARS)],
    verb: VerbName,
    caller: Admin,
    platform: OnPlatform,
    request: Request,
) -> Response:
    """Pause, resume or drain the workflow of this name, of all tenants or of one. Twice is once."""
    return await _move(platform, caller, request, verb, body.reason, "workflow", name, body.tenant)


@router.post(
    "/v1/admin/tenants/{tenant}/{verb}", response_model=PartBody, responses=raises("not_found")
)
async def hold_tenant(
    body: ReasonBody,
    tenant: TenantName,
    verb: VerbName,
    caller: Admin,
    platform: OnPlatform,
    request: Request,
) -> Response:
    """Pause, resume or drain a tenant's work. Twice is once."""
    return await _move(platform, caller, request, verb, body.reason, "tenant", "", tenant)


@router.post(
    "/v1/admin/workers/{id}/{verb}", response_model=PartBody, responses=raises("not_found")
)
async def hold_worker(
    body: ReasonBody,
    id_: PathId,
    verb: VerbName,
    caller: Admin,
    platform: OnPlatform,
    request: Request,
) -> Response:
    """Pause, resume or drain a worker: it finishes what it has and takes no new work. Twice is once."""
    worker = str(wire.identified("wrk", id_, "worker"))
    return await _move(platform, caller, request, verb, body.reason, "worker", worker, None)


async def _move(
    platform: ApiPlatform,
    caller: Caller,
    request: Request,
    verb: Verb,
    reason: str,
    kind: str,
    name: str,
    tenant: str | None,
) -> Response:
    actor = asking.actor(request, caller)
    async with platform.db.transaction() as session:
        owner = PLATFORM if tenant is None else (await directory.named(session, tenant)).id
        part = await views.move(session, Scope(kind, owner, name), verb, actor=actor, reason=reason)
    return answer(PartBody.of(part))
