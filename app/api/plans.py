"""Operators' routes over limits: plans that tenants share, and what a tenant has in place of its plan's."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, cast

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from sqlalchemy.ext.asyncio import AsyncSession

from app.api import asking, wire
from app.api.asking import IdempotencyKey
from app.api.bodies import Lane
from app.api.openapi import raises
from app.api.operations import ReasonBody, TenantName
from app.api.routing import Admin, OnPlatform, Route
from app.api.wire import Listed, Moment, Money, MoneyIn, answer, missing
from app.core import ids, money
from app.idempotency import records
from app.switches import pauses
from app.tenants import directory, limits, plans
from app.tenants.limits import Ceiling, Limits, Rate
from app.tenants.models import Plan, Tenant

router: Final = APIRouter(route_class=Route, tags=["operators"])

PlanName = Annotated[str, Path(alias="plan", max_length=64, description="The plan's name.")]
LimitName = Annotated[
    str,
    Query(alias="name", max_length=limits.MAX_NAME_CHARS + 32, description="A rate's or a lane's."),
]
ReasonQuery = Annotated[
    str, Query(alias="reason", min_length=1, max_length=pauses.MAX_REASON_CHARS, description="Why.")
]
Of = Literal["tenant", "key", "end_user"]
Unit = Literal["requests", "tokens"]
WhenLost = Literal["hold", "refuse"]
PerMinute = Annotated[StrictInt, Field(ge=1, le=limits.MAX_PER_MINUTE)]
Count = Annotated[StrictInt, Field(ge=0, le=limits.MAX_PER_MINUTE)]

_ROUTE: Final = "POST /v1/admin/plans"
_RATE: Final[dict[str, Any]] = {
    "of": "tenant", "unit": "requests", "per_minute": 600, "burst": 100, "route": None,
    "when_lost": "hold",
}  # fmt: skip
_QUEUE: Final[dict[str, Any]] = {
    "lane": "batch", "max_jobs": 100_000, "max_cost": "50", "max_age_seconds": None,
}  # fmt: skip
_HELD: Final[dict[str, Any]] = {
    "rates": [{"name": "tenant-requests"} | _RATE], "queues": [_QUEUE],
}  # fmt: skip
_PLAN: Final[dict[str, Any]] = {
    "object": "plan", "name": "small", "created_at": "2026-11-25T06:00:00.000000Z",
} | _HELD  # fmt: skip
_LIMITS: Final[dict[str, Any]] = {
    "object": "tenant.limits", "tenant": "acme", "plan": "small", "own": ["batch"],
} | _HELD  # fmt: skip


class NewPlan(BaseModel):
    """A plan to make, without a limit at first."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"name": "small"}]})

    name: Annotated[str, Field(min_length=1, max_length=63)]


class NewRate(ReasonBody):
    """A rate to set, in place of an earlier one of the same `of`, `unit` and `route`."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [_RATE | {"reason": "agreed"}]}
    )

    per_minute: PerMinute
    of: Of = Field("tenant", description="What has a count of its own.")
    unit: Unit = "requests"
    burst: PerMinute | None = Field(
        None, description="How many may come at once; without it, a minute's worth."
    )
    route: Annotated[str, Field(min_length=1, max_length=limits.MAX_NAME_CHARS)] | None = Field(
        None, description="Only there, such as `POST /v1/jobs`."
    )
    when_lost: WhenLost = Field(
        "hold", description="Without the shared counters: held in each process, or refused."
    )

    def rate(self) -> Rate:
        """The rate as the room knows it."""
        burst = self.per_minute if self.burst is None else self.burst
        return Rate(self.of, self.unit, self.per_minute, burst, self.route, self.when_lost)


class NewCeiling(ReasonBody):
    """How much may wait in a lane. What is left out has no ceiling."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [_QUEUE | {"reason": "agreed"}]}
    )

    lane: Lane
    max_jobs: Count | None = None
    max_cost: MoneyIn | None = Field(None, description="Their predicted cost, in all.")
    max_age_seconds: Count | None = Field(None, description="How long the oldest may wait.")

    def ceiling(self) -> Ceiling:
        """The ceiling as the room knows it."""
        return Ceiling(self.max_jobs, self.max_cost, self.max_age_seconds)


class SetRate(BaseModel):
    """A rate of requests or tokens."""

    name: str
    of: Of
    unit: Unit
    per_minute: int
    burst: int
    route: str | None
    when_lost: WhenLost


class SetCeiling(BaseModel):
    """How much may wait in a lane; null: as much as comes."""

    lane: str
    max_jobs: int | None
    max_cost: Money | None
    max_age_seconds: int | None


class PlanBody(BaseModel):
    """Limits that many tenants share."""

    model_config = ConfigDict(json_schema_extra={"examples": [_PLAN]})

    object: Literal["plan"] = "plan"
    name: str
    rates: list[SetRate]
    queues: list[SetCeiling]
    created_at: Moment

    @classmethod
    def of(cls, plan: Plan) -> "PlanBody":
        """A plan as it was read."""
        held = _shown(limits.in_force(plan.limits, {}))
        return cls.model_validate({"name": plan.name, "created_at": plan.created_at} | held)


class TenantLimits(BaseModel):
    """The limits in force for a tenant: its plan's, with its own in their place."""

    model_config = ConfigDict(json_schema_extra={"examples": [_LIMITS]})

    object: Literal["tenant.limits"] = "tenant.limits"
    tenant: str
    plan: str | None
    rates: list[SetRate]
    queues: list[SetCeiling]
    own: list[str] = Field(
        description="Names that the tenant has itself; one that isn't in force takes the plan's away."
    )

    @classmethod
    async def read(cls, session: AsyncSession, tenant: Tenant) -> "TenantLimits":
        """The limits of a tenant as they stand."""
        found = limits.in_force(await plans.of_tenant(session, tenant), tenant.limits)
        facts = {"tenant": tenant.slug, "plan": tenant.plan, "own": _names(tenant.limits)}
        return cls.model_validate(facts | _shown(found))


@router.post(
    "/v1/admin/plans",
    status_code=201,
    response_model=PlanBody,
    responses=raises("idempotency_key_reused", "idempotency_key_missing"),
)
async def create_plan(
    body: NewPlan, key: IdempotencyKey, caller: Admin, platform: OnPlatform, request: Request
) -> Response:
    """Make a plan, without a limit at first."""
    replayed = False
    async with platform.db.transaction() as session:
        if key is not None:
            intent = records.fingerprint(body.model_dump())
            claim = await records.claim(session, caller.tenant, _ROUTE, key, intent, ids.new())
            replayed = claim.replayed
        if not replayed:
            await plans.create(session, body.name, actor=asking.actor(request, caller))
        plan = PlanBody.of(await plans.find(session, body.name))
    return answer(plan, 201, wire.replay({"Location": f"/v1/admin/plans/{plan.name}"}, replayed))


@router.get("/v1/admin/plans", response_model=Listed[PlanBody])
async def list_plans(caller: Admin, platform: OnPlatform) -> Response:
    """List the plans with their limits, by name. All in one page."""
    async with platform.db.transaction() as session:
        data = [PlanBody.of(one) for one in await plans.listed(session)]
    return answer(Listed[PlanBody](data=data, next_cursor=None))


@router.get("/v1/admin/plans/{plan}", response_model=PlanBody, responses=raises("not_found"))
async def get_plan(plan: PlanName, caller: Admin, platform: OnPlatform) -> Response:
    """Get one plan."""
    async with platform.db.transaction() as session:
        return answer(PlanBody.of(await plans.find(session, plan)))


@router.put(
    "/v1/admin/plans/{plan}/limits/rate", response_model=PlanBody, responses=raises("not_found")
)
async def set_plan_rate(
    body: NewRate, plan: PlanName, caller: Admin, platform: OnPlatform, request: Request
) -> Response:
    """Set a rate of a plan, and so of its tenants, within a second."""
    actor, rate = asking.actor(request, caller), body.rate()
    async with platform.db.transaction() as session:
        await plans.set_limits(
            session,
            plan,
            lambda held: limits.with_rate(held, rate),
            actor=actor,
            reason=body.reason,
        )
        return answer(PlanBody.of(await plans.find(session, plan)))


@router.put(
    "/v1/admin/plans/{plan}/limits/queue", response_model=PlanBody, responses=raises("not_found")
)
async def set_plan_ceiling(
    body: NewCeiling, plan: PlanName, caller: Admin, platform: OnPlatform, request: Request
) -> Response:
    """Set how much of each tenant of a plan may wait in a lane."""
    actor, most = asking.actor(request, caller), body.ceiling()
    async with platform.db.transaction() as session:
        await plans.set_limits(
            session, plan, lambda held: limits.with_ceiling(held, body.lane, most), actor=actor,
            reason=body.reason,
        )  # fmt: skip
        return answer(PlanBody.of(await plans.find(session, plan)))


@router.delete(
    "/v1/admin/plans/{plan}/limits", response_model=PlanBody, responses=raises("not_found")
)
async def clear_plan_limit(
    plan: PlanName,
    name: LimitName,
    reason: ReasonQuery,
    caller: Admin,
    platform: OnPlatform,
    request: Request,
) -> Response:
    """Take a limit of a plan away, by its name as the plan shows it."""

    def change(held: Mapping[str, Any]) -> dict[str, Any]:
        if name not in _names(held):
            raise missing("limit")
        return limits.without(held, name, inherits=False)

    actor = asking.actor(request, caller)
    async with platform.db.transaction() as session:
        await plans.set_limits(session, plan, change, actor=actor, reason=reason)
        return answer(PlanBody.of(await plans.find(session, plan)))


@router.get(
    "/v1/admin/tenants/{tenant}/limits",
    response_model=TenantLimits,
    responses=raises("not_found"),
)
async def get_tenant_limits(tenant: TenantName, caller: Admin, platform: OnPlatform) -> Response:
    """Get the limits in force for a tenant, and which of them are its own."""
    async with platform.db.transaction() as session:
        return answer(await TenantLimits.read(session, await directory.named(session, tenant)))


@router.put(
    "/v1/admin/tenants/{tenant}/limits/rate",
    response_model=TenantLimits,
    responses=raises("not_found"),
)
async def set_tenant_rate(
    body: NewRate, tenant: TenantName, caller: Admin, platform: OnPlatform, request: Request
) -> Response:
    """Set a rate of a tenant's own, in place of its plan's of that name. It holds within a second."""
    actor, rate = asking.actor(request, caller), body.rate()
    async with platform.db.transaction() as session:
        owner = await directory.named(session, tenant)
        await plans.set_own_limits(
            session, owner.id, lambda held: limits.with_rate(held, rate), actor=actor,
            reason=body.reason,
        )  # fmt: skip
        return answer(await TenantLimits.read(session, owner))


@router.put(
    "/v1/admin/tenants/{tenant}/limits/queue",
    response_model=TenantLimits,
    responses=raises("not_found"),
)
async def set_tenant_ceiling(
    body: NewCeiling, tenant: TenantName, caller: Admin, platform: OnPlatform, request: Request
) -> Response:
    """Set how much of a tenant's may wait in a lane, in place of what its plan says of that lane."""
    actor, most = asking.actor(request, caller), body.ceiling()
    async with platform.db.transaction() as session:
        owner = await directory.named(session, tenant)
        await plans.set_own_limits(
            session, owner.id, lambda held: limits.with_ceiling(held, body.lane, most), actor=actor,
            reason=body.reason,
        )  # fmt: skip
        return answer(await TenantLimits.read(session, owner))


@router.delete(
    "/v1/admin/tenants/{tenant}/limits",
    response_model=TenantLimits,
    responses=raises("not_found"),
)
async def clear_tenant_limit(
    tenant: TenantName,
    name: LimitName,
    reason: ReasonQuery,
    caller: Admin,
    platform: OnPlatform,
    request: Request,
) -> Response:
    """Take a limit away. A tenant's own goes first, then, asked again, what its plan says."""
    actor = asking.actor(request, caller)
    async with platform.db.transaction() as session:
        owner = await directory.named(session, tenant)
        inherited = await plans.of_tenant(session, owner)

        def change(held: Mapping[str, Any]) -> dict[str, Any]:
            if name not in {*_names(held), *_names(inherited or {})}:
                raise missing("limit")
            return limits.without(held, name, inherits=True)

        await plans.set_own_limits(session, owner.id, change, actor=actor, reason=reason)
        return answer(await TenantLimits.read(session, owner))


def _names(held: Mapping[str, Any]) -> list[str]:
    return sorted(cast(str, name) for kind in ("rates", "queue") for name in held.get(kind, {}))


def _shown(found: Limits) -> dict[str, Any]:
    rates = [
        {
            "name": one.name, "of": one.of, "unit": one.unit, "per_minute": one.per_minute,
            "burst": one.burst, "route": one.route, "when_lost": one.when_lost,
        }
        for one in found.rates
    ]  # fmt: skip
    queues = [
        {
            "lane": lane, "max_jobs": one.jobs, "max_age_seconds": one.age_seconds,
            "max_cost": None if one.cost_nanousd is None else money.to_wire(one.cost_nanousd),
        }
        for lane, one in sorted((found.ceilings or {}).items())
    ]  # fmt: skip
    return {"rates": rates, "queues": queues}
