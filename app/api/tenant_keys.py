"""Operators' routes over the API keys of any tenant: issued, listed, revoked."""

from typing import Final

from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict

from app.api import asking, wire
from app.api.asking import IdempotencyKey
from app.api.keys import KeyBody, NewKey
from app.api.openapi import raises
from app.api.operations import TenantName
from app.api.routing import Admin, OnPlatform, Route
from app.api.wire import Cursor, Limit, Listed, PathId, answer
from app.core import ids
from app.core.ids import KeyId
from app.idempotency import records
from app.tenants import directory, keys

router: Final = APIRouter(route_class=Route, tags=["operators"])

_ROUTE: Final = "POST /v1/admin/tenants/{tenant}/keys"


class NewTenantKey(NewKey):
    """A key to make for a tenant, with any scopes."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "first", "scopes": ["jobs:write", "keys:write"]}]},
    )


@router.post(
    "/v1/admin/tenants/{tenant}/keys",
    status_code=201,
    response_model=KeyBody,
    responses=raises("not_found", "idempotency_key_reused", "idempotency_key_missing"),
)
async def issue_key(
    body: NewTenantKey,
    tenant: TenantName,
    key: IdempotencyKey,
    caller: Admin,
    platform: OnPlatform,
    request: Request,
) -> Response:
    """Make a key of a tenant. The answer shows it once; a repeated request shows its record alone."""
    made, secret, replayed = KeyId(ids.new()), None, False
    async with platform.db.transaction() as session:
        owner = (await directory.named(session, tenant)).id
        if key is not None:
            intent = records.fingerprint([directory.wire(owner), body.model_dump(mode="json")])
            claim = await records.claim(session, caller.tenant, _ROUTE, key, intent, made)
            made, replayed = KeyId(claim.object), claim.replayed
        if not replayed:
            issued = await keys.issue(
                session, owner, body.name, body.scopes, actor=asking.actor(request, caller),
                expires_at=body.expires_at, id=made,
            )  # fmt: skip
            secret = issued.secret
        facts = await keys.find(session, owner, made)
    return answer(KeyBody.of(facts, secret), 201, wire.replay({}, replayed))


@router.get(
    "/v1/admin/tenants/{tenant}/keys",
    response_model=Listed[KeyBody],
    responses=raises("not_found"),
)
async def list_tenant_keys(
    tenant: TenantName,
    caller: Admin,
    platform: OnPlatform,
    limit: Limit = 20,
    cursor: Cursor = None,
) -> Response:
    """List a tenant's keys, revoked ones too, newest first."""
    async with platform.db.transaction() as session:
        owner = (await directory.named(session, tenant)).id
        page = await keys.listed(session, owner, cursor, limit)
    data = [KeyBody.of(facts) for facts in page.items]
    return answer(Listed[KeyBody](data=data, next_cursor=page.next_cursor))


@router.delete(
    "/v1/admin/tenants/{tenant}/keys/{id}",
    status_code=204,
    response_class=Response,
    responses=raises("not_found"),
)
async def revoke_tenant_key(
    tenant: TenantName, id_: PathId, caller: Admin, platform: OnPlatform, request: Request
) -> Response:
    """Revoke a key of a tenant. It works no longer within a second; twice is once."""
    key = KeyId(wire.identified("key", id_, "key"))
    async with platform.db.transaction() as session:
        owner = (await directory.named(session, tenant)).id
        await keys.revoke(session, owner, key, actor=asking.actor(request, caller))
    return Response(status_code=204)
