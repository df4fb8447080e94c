"""Operators' routes over tenants: made, shown, changed, suspended; and what each may spend."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt

from app.api import asking, wire
from app.api.asking import IdempotencyKey
from app.api.budgets import BudgetBody
from app.api.openapi import raises
from app.api.operations import ReasonBody, TenantName
from app.api.routing import Admin, OnPlatform, Route
from app.api.wire import Cursor, Limit, Listed, Moment, MoneyIn, answer
from app.bootstrap import tenancy
from app.budgets import accounts
from app.core import ids
from app.core.ids import TenantId
from app.idempotency import records
from app.tenants import directory
from app.tenants.models import Tenant

router: Final = APIRouter(route_class=Route, tags=["operators"])

Weight = Annotated[StrictInt, Field(ge=1, le=directory.MAX_WEIGHT)]
MaxRunning = Annotated[StrictInt, Field(ge=1, le=directory.MAX_RUNNING)]
Name = Annotated[str, Field(min_length=1, max_length=directory.NAME_CHARS)]

_ROUTE: Final = "POST /v1/admin/tenants"
_TENANT: Final[dict[str, Any]] = {
    "id": "ten_01kb1c2v3e4m5n6p7q8r9s0t1v", "object": "tenant", "slug": "acme", "name": "Acme",
    "state": "active", "weight": 1, "max_running": 100, "requires_idempotency": False,
    "plan": "small", "created_at": "2026-11-25T06:00:00.000000Z",
}  # fmt: skip


class NewTenant(BaseModel):
    """A tenant to make, with its account and the shipped workflows."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"slug": "acme", "limit": "10"}]}
    )

    slug: Annotated[str, Field(min_length=1, max_length=63)]
    limit: MoneyIn = Field(description="The hard cap of its account, in USD.")
    name: Name | None = Field(None, description="Without it, the slug.")
    weight: Weight = Field(1, description="Its share beside other tenants.")
    max_running: MaxRunning = Field(100, description="How many of its jobs may run at once.")
    requires_idempotency: StrictBool = Field(
        False, description="Refuse its creating POSTs without an Idempotency-Key."
    )


class TenantChange(ReasonBody):
    """What is to change of a tenant, and why. What is left out stays."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"plan": "small", "max_running": 200, "reason": "they grew"}]},
    )  # fmt: skip

    weight: Weight | None = None
    max_running: MaxRunning | None = None
    requires_idempotency: StrictBool | None = None
    plan: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        None, description="The plan whose limits it has."
    )


class LimitChange(ReasonBody):
    """A hard cap of a tenant's account, in USD, and why."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"limit": "50", "reason": "paid ahead"}]}
    )

    limit: MoneyIn


class OwnedTenant(BaseModel):
    """A tenant as operators see it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TENANT]})

    id: str
    object: Literal["tenant"] = "tenant"
    slug: str
    name: str
    state: Literal["active", "suspended", "closed"]
    weight: int
    max_running: int
    requires_idempotency: bool
    plan: str | None
    created_at: Moment

    @classmethod
    def of(cls, tenant: Tenant) -> "OwnedTenant":
        """A tenant as it was read."""
        return cls.model_validate(
            {"id": directory.wire(tenant.id), "created_at": tenant.created_at}
            | directory.facts(tenant)
        )


@router.post(
    "/v1/admin/tenants",
    status_code=201,
    response_model=OwnedTenant,
    responses=raises("idempotency_key_reused", "idempotency_key_missing"),
)
async def create_tenant(
    body: NewTenant, key: IdempotencyKey, caller: Admin, platform: OnPlatform, request: Request
) -> Response:
    """Make a tenant that can work at once."""
    made, replayed = TenantId(ids.new()), False
    async with platform.db.transaction() as session:
        if key is not None:
            intent = records.fingerprint(body.model_dump())
            claim = await records.claim(session, caller.tenant, _ROUTE, key, intent, made)
            made, replayed = TenantId(claim.object), claim.replayed
        if not replayed:
            await tenancy.create(
                session, body.slug, body.name or body.slug, limit_nanousd=body.limit,
                actor=asking.actor(request, caller), weight=body.weight, max_running=body.max_running,
                requires_idempotency=body.requires_idempotency, id=made,
            )  # fmt: skip
        tenant = OwnedTenant.of(await directory.find(session, made))
    return answer(
        tenant, 201, wire.replay({"Location": f"/v1/admin/tenants/{tenant.id}"}, replayed)
    )


@router.get("/v1/admin/tenants", response_model=Listed[OwnedTenant])
async def list_tenants(
    caller: Admin, platform: OnPlatform, limit: Limit = 20, cursor: Cursor = None
) -> Response:
    """List all tenants, newest first."""
    async with platform.db.transaction() as session:
        page = await directory.listed(session, cursor, limit)
        data = [OwnedTenant.of(one) for one in page.items]
    return answer(Listed[OwnedTenant](data=data, next_cursor=page.next_cursor))


@router.get("/v1/admin/tenants/{tenant}", response_model=OwnedTenant, responses=raises("not_found"))
async def get_tenant(tenant: TenantName, caller: Admin, platform: OnPlatform) -> Response:
    """Get one tenant."""
    async with platform.db.transaction() as session:
        return answer(OwnedTenant.of(await directory.named(session, tenant)))


@router.patch(
    "/v1/admin/tenants/{tenant}", response_model=OwnedTenant, responses=raises("not_found")
)
async def change_tenant(
    body: TenantChange, tenant: TenantName, caller: Admin, platform: OnPlatform, request: Request
) -> Response:
    """Change a tenant's share, its jobs at once, whether it must send idempotency keys, its plan."""
    async with platform.db.transaction() as session:
        found = await directory.named(session, tenant)
        await directory.set_caps(
            session, found.id, actor=asking.actor(request, caller), weight=body.weight,
            max_running=body.max_running, requires_idempotency=body.requires_idempotency,
            plan=body.plan, reason=body.reason,
        )  # fmt: skip
        return answer(OwnedTenant.of(found))


@router.post(
    "/v1/admin/tenants/{tenant}/suspend", response_model=OwnedTenant, responses=raises("not_found")
)
async def suspend_tenant(
    body: ReasonBody, tenant: TenantName, caller: Admin, platform: OnPlatform, request: Request
) -> Response:
    """Refuse every request of a tenant, within a second. Its running jobs go on. Twice is once."""
    async with platform.db.transaction() as session:
        found = await directory.named(session, tenant)
        actor = asking.actor(request, caller)
        await directory.suspend(session, found.id, actor=actor, reason=body.reason)
        return answer(OwnedTenant.of(found))


@router.post(
    "/v1/admin/tenants/{tenant}/unsuspend",
    response_model=OwnedTenant,
    responses=raises("not_found"),
)
async def unsuspend_tenant(
    body: ReasonBody, tenant: TenantName, caller: Admin, platform: OnPlatform, request: Request
) -> Response:
    """Let a suspended tenant in again. Twice is once."""
    async with platform.db.transaction() as session:
        found = await directory.named(session, tenant)
        actor = asking.actor(request, caller)
        await directory.resume(session, found.id, actor=actor, reason=body.reason)
        return answer(OwnedTenant.of(found))


@router.get(
    "/v1/admin/tenants/{tenant}/budget", response_model=BudgetBody, responses=raises("not_found")
)
async def get_budget(tenant: TenantName, caller: Admin, platform: OnPlatform) -> Response:
    """Get a tenant's account: its cap, what is spent and what is held."""
    async with platform.db.transaction() as session:
        found = await directory.named(session, tenant)
        return answer(BudgetBody.of(await accounts.of(session, found.id)))


@router.put(
    "/v1/admin/tenants/{tenant}/budget", response_model=BudgetBody, responses=raises("not_found")
)
async def set_budget(
    body: LimitChange, tenant: TenantName, caller: Admin, platform: OnPlatform, request: Request
) -> Response:
    """Set a tenant's hard cap. Below what is spent, it stops the next call."""
    async with platform.db.transaction() as session:
        found = await directory.named(session, tenant)
        actor = asking.actor(request, caller)
        await accounts.set_limit(session, found.id, body.limit, actor=actor, reason=body.reason)
        return answer(BudgetBody.of(await accounts.of(session, found.id)))


@router.post(
    "/v1/admin/tenants/{tenant}/budget/clear_overrun",
    response_model=BudgetBody,
    responses=raises("not_found"),
)
async def clear_overrun(
    body: ReasonBody, tenant: TenantName, caller: Admin, platform: OnPlatform, request: Request
) -> Response:
    """Unblock an account after a call that cost more than its hold."""
    async with platform.db.transaction() as session:
        found = await directory.named(session, tenant)
        actor = asking.actor(request, caller)
        await accounts.clear_overrun(session, found.id, actor=actor, reason=body.reason)
        return answer(BudgetBody.of(await accounts.of(session, found.id)))
