"""Tools: what a tenant may use; and operators' routes that grant and revoke."""

from typing import Annotated, Any, Final, Literal, cast

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api import asking
from app.api.openapi import raises
from app.api.operations import ReasonBody, TenantName
from app.api.routing import Admin, OnPlatform, Route, WorkflowsRead
from app.api.wire import Listed, Moment, answer
from app.tenants import directory
from app.tools import grants, registry
from app.tools.models import ToolGrant
from app.tools.registry import Bound
from app.tools.tool import NAME_LENGTH

router: Final = APIRouter(route_class=Route, tags=["tools"])

ToolName = Annotated[str, Path(alias="tool", max_length=NAME_LENGTH, description="A tool's name.")]

_LIMITS: Final[dict[str, Any]] = {
    "properties": {"url": {"enum": ["https://example.com/crm"]}},
}
_TOOL: Final[dict[str, Any]] = {
    "object": "tool", "name": "crm.lookup", "version": "1", "description": "Name and tier of a customer.",
    "input": {"type": "object", "properties": {"customer": {"type": "string"}}, "required": ["customer"]},
    "output": {}, "effect": "idempotent", "timeout_seconds": 30.0, "output_bytes": 262144, "limits": None,
}  # fmt: skip
_GRANT: Final[dict[str, Any]] = {
    "object": "tool.grant", "tool": "http.request", "limits": _LIMITS, "reason": "their CRM",
    "granted_by": "key_01kb1c2v3e4m5n6p7q8r9s0t1v", "granted_at": "2026-11-25T06:00:00.000000Z",
}  # fmt: skip


class ToolBody(BaseModel):
    """A tool that the tenant's workflows may call."""

    model_config = ConfigDict(json_schema_extra={"examples": [_TOOL]})

    object: Literal["tool"] = "tool"
    name: str
    version: str
    description: str
    input: dict[str, Any] = Field(description="JSON Schema of the arguments.")
    output: dict[str, Any] = Field(description="JSON Schema of the result; empty: anything.")
    effect: Literal["idempotent", "keyed", "unsafe"]
    timeout_seconds: float
    output_bytes: int
    limits: dict[str, Any] | None = Field(
        description="JSON Schema that the arguments must fit too: what the operator's grant allows."
    )

    @classmethod
    def of(cls, bound: Bound) -> "ToolBody":
        """A tool within the tenant's grant."""
        tool = bound.tool
        return cls(
            name=tool.name, version=tool.version, description=tool.description, input=tool.input,
            output=tool.output, effect=tool.effect, timeout_seconds=tool.timeout.total_seconds(),
            output_bytes=tool.output_bytes,
            limits=None if bound.limits is None else cast(dict[str, Any], bound.limits.schema),
        )  # fmt: skip


class GrantReason(ReasonBody):
    """Why, and within which limits."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"reason": "their CRM", "limits": _LIMITS}]},
    )

    limits: dict[str, Any] | None = Field(
        None, description="JSON Schema of the arguments that are allowed; without it, all that fit."
    )


class GrantBody(BaseModel):
    """A tool that an operator granted to a tenant."""

    model_config = ConfigDict(json_schema_extra={"examples": [_GRANT]})

    object: Literal["tool.grant"] = "tool.grant"
    tool: str
    limits: dict[str, Any] | None
    reason: str
    granted_by: str
    granted_at: Moment

    @classmethod
    def of(cls, row: ToolGrant) -> "GrantBody":
        """A grant as it is stored."""
        return cls(
            tool=row.tool, limits=row.arguments, reason=row.reason, granted_by=row.granted_by,
            granted_at=row.granted_at,
        )  # fmt: skip


@router.get("/v1/tools", response_model=Listed[ToolBody])
async def list_tools(caller: WorkflowsRead, platform: OnPlatform) -> Response:
    """List the tools that the tenant's workflows may call, by name. All in one page."""
    async with platform.db.transaction() as session:
        held = await grants.of(session, caller.tenant)
    usable = registry.granted(platform.tools, held).tools
    data = [ToolBody.of(usable[name]) for name in sorted(usable)]
    return answer(Listed[ToolBody](data=data, next_cursor=None))


@router.get(
    "/v1/admin/tenants/{tenant}/tools",
    response_model=Listed[GrantBody],
    responses=raises("not_found"),
)
async def list_grants(tenant: TenantName, caller: Admin, platform: OnPlatform) -> Response:
    """List the tools that were granted to a tenant, by name. All in one page."""
    async with platform.db.transaction() as session:
        owner = await directory.named(session, tenant)
        found = await grants.listed(session, owner.id)
    return answer(Listed[GrantBody](data=[GrantBody.of(one) for one in found], next_cursor=None))


@router.post(
    "/v1/admin/tenants/{tenant}/tools/{tool}/grant",
    response_model=GrantBody,
    responses=raises("not_found"),
)
async def grant_tool(
    body: GrantReason,
    tenant: TenantName,
    tool: ToolName,
    caller: Admin,
    platform: OnPlatform,
    request: Request,
) -> Response:
    """Let a tenant use a tool, in place of an earlier grant of it. Known everywhere within a second."""
    async with platform.db.transaction() as session:
        owner = await directory.named(session, tenant)
        made = await grants.grant(
            session, owner.id, tool, body.limits, tools=platform.tools,
            actor=asking.actor(request, caller), reason=body.reason,
        )  # fmt: skip
    return answer(GrantBody.of(made))


@router.post(
    "/v1/admin/tenants/{tenant}/tools/{tool}/revoke",
    status_code=204,
    responses=raises("not_found"),
)
async def revoke_tool(
    body: ReasonBody,
    tenant: TenantName,
    tool: ToolName,
    caller: Admin,
    platform: OnPlatform,
    request: Request,
) -> Response:
    """Take a grant back. Steps that would call the tool fail from the next second on."""
    async with platform.db.transaction() as session:
        owner = await directory.named(session, tenant)
        await grants.revoke(
            session, owner.id, tool, actor=asking.actor(request, caller), reason=body.reason
        )
    return Response(status_code=204)
