"""Operators' routes over caps: how many jobs of a kind may run at once."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictInt
from sqlalchemy.ext.asyncio import AsyncSession

from app.api import asking
from app.api.openapi import raises
from app.api.operations import ReasonBody
from app.api.routing import Admin, OnPlatform, Route
from app.api.wire import Label, Listed, Moment, answer
from app.audit.trail import PLATFORM
from app.jobs.caps import Cap
from app.scheduling import capping
from app.scheduling.models import CapRow
from app.switches import pauses
from app.tenants import directory

router: Final = APIRouter(route_class=Route, tags=["operators"])

Kind = Literal["all", "workflow", "key", "resource"]

_CAP: Final[dict[str, Any]] = {
    "object": "cap", "kind": "resource", "name": "crm-api", "tenant": "acme", "max_running": 3,
    "reason": "their CRM is small", "by": "key_01kb1c2v3e4m5n6p7q8r9s0t1v",
    "since": "2026-11-25T06:00:00.000000Z",
}  # fmt: skip


class NewCap(ReasonBody):
    """A cap to set, in place of an earlier one of the same kind, name and tenant."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "kind": "resource", "name": "crm-api", "tenant": "acme", "max_running": 3,
                    "reason": "their CRM is small",
                }
            ]
        },
    )  # fmt: skip

    kind: Kind
    name: str = Field(
        "",
        max_length=capping.MAX_NAME_CHARS,
        description="Of the workflow or resource; a key's id.",
    )
    tenant: Label | None = Field(None, description="A tenant's slug or id; without it, of all.")
    max_running: Annotated[StrictInt, Field(ge=0, le=capping.MAX_RUNNING)] = Field(
        description="Jobs at once; 0 stops the kind."
    )


class CapBody(BaseModel):
    """A cap on what runs at once."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CAP]})

    object: Literal["cap"] = "cap"
    kind: Kind
    name: str = Field(description="Empty where everything is capped.")
    tenant: str | None = Field(description="The slug; null: over all tenants.")
    max_running: int
    reason: str
    by: str
    since: Moment


@router.get("/v1/admin/caps", response_model=Listed[CapBody])
async def list_caps(caller: Admin, platform: OnPlatform) -> Response:
    """List the caps that are set, those over all tenants first. All in one page."""
    async with platform.db.transaction() as session:
        data = [await _body(session, row) for row in await capping.listed(session)]
    return answer(Listed[CapBody](data=data, next_cursor=None))


@router.put("/v1/admin/caps", response_model=CapBody, responses=raises("not_found"))
async def set_cap(body: NewCap, caller: Admin, platform: OnPlatform, request: Request) -> Response:
    """Cap what runs at once of everything, a workflow, a key or a resource. What runs already goes on."""
    actor = asking.actor(request, caller)
    async with platform.db.transaction() as session:
        cap = await _cap(session, body.kind, body.name, body.tenant)
        await capping.put(session, cap, body.max_running, actor=actor, reason=body.reason)
        return answer(await _body(session, await capping.find(session, cap)))


@router.delete(
    "/v1/admin/caps", status_code=204, response_class=Response, responses=raises("not_found")
)
async def clear_cap(
    kind: Annotated[Kind, Query(description="Of what.")],
    reason: Annotated[str, Query(min_length=1, max_length=pauses.MAX_REASON_CHARS)],
    caller: Admin,
    platform: OnPlatform,
    request: Request,
    name: Annotated[str, Query(max_length=capping.MAX_NAME_CHARS)] = "",
    tenant: Annotated[str | None, Query(max_length=64, description="A slug or an id.")] = None,
) -> Response:
    """Take a cap away."""
    actor = asking.actor(request, caller)
    async with platform.db.transaction() as session:
        cap = await _cap(session, kind, name, tenant)
        await capping.clear(session, cap, actor=actor, reason=reason)
    return Response(status_code=204)


async def _cap(session: AsyncSession, kind: Kind, name: str, tenant: str | None) -> Cap:
    owner = PLATFORM if tenant is None else (await directory.named(session, tenant)).id
    return owner, kind, name


async def _body(session: AsyncSession, row: CapRow) -> CapBody:
    over_all = row.owner == PLATFORM
    slug = None if over_all else (await directory.find(session, row.owner)).slug
    return CapBody.model_validate(
        {
            "kind": row.kind, "name": row.name, "tenant": slug, "max_running": row.max_running,
            "reason": row.reason, "by": row.set_by, "since": row.set_at,
        }
    )  # fmt: skip
