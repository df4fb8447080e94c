"""API keys of the caller's tenant: made, shown without their secret, revoked."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api import asking, wire
from app.api.asking import IdempotencyKey
from app.api.openapi import raises
from app.api.routing import AnyCaller, KeysWrite, OnPlatform, Route
from app.api.wire import Cursor, Limit, Listed, Moment, MomentIn, PathId, answer
from app.core import ids
from app.core.ids import KeyId
from app.idempotency import records
from app.tenants import directory, keys
from app.tenants.keys import KeyFacts

router: Final = APIRouter(route_class=Route, tags=["keys"])

_ROUTE: Final = "POST /v1/keys"
_EXAMPLE: Final[dict[str, Any]] = {
    "id": "key_01kb1c2v3e4m5n6p7q8r9s0t1v", "object": "key", "name": "support bot", "prefix": "tp_4fK9aZ",
    "scopes": ["jobs:read", "jobs:write"], "created_at": "2026-11-25T06:00:00.000000Z",
    "expires_at": None, "revoked_at": None, "secret": None,
}  # fmt: skip


class NewKey(BaseModel):
    """A key to make. It can't have a scope that the key which asks has not."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "support bot", "scopes": ["jobs:read", "jobs:write"]}]
        },
    )

    name: Annotated[str, Field(min_length=1, max_length=keys.NAME_CHARS)]
    scopes: list[str] = Field(min_length=1, max_length=len(keys.SCOPES))
    expires_at: MomentIn | None = None


class KeyBody(BaseModel):
    """A key as it may be shown."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    id: str
    object: Literal["key"] = "key"
    name: str
    prefix: str = Field(description="How the secret begins.")
    scopes: list[str]
    created_at: Moment
    expires_at: Moment | None
    revoked_at: Moment | None
    secret: str | None = Field(
        None, description="The key itself: in the answer that made it, and never again."
    )

    @classmethod
    def of(cls, facts: KeyFacts, secret: str | None = None) -> "KeyBody":
        """A key as it was read; `secret` only where it was made just now."""
        return cls(
            id=ids.wire("key", facts.id), name=facts.name, prefix=facts.prefix,
            scopes=list(facts.scopes), created_at=facts.created_at, expires_at=facts.expires_at,
            revoked_at=facts.revoked_at, secret=secret,
        )  # fmt: skip


class MeBody(BaseModel):
    """Who calls."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "me",
                    "tenant": {
                        "id": "ten_01kb1c2v3e4m5n6p7q8r9s0t1v",
                        "slug": "acme",
                        "name": "Acme",
                        "max_running": 100,
                        "requires_idempotency": False,
                    },
                    "key": _EXAMPLE,
                }
            ]
        }
    )

    object: Literal["me"] = "me"
    tenant: "TenantBody"
    key: KeyBody


class TenantBody(BaseModel):
    """The caller's tenant."""

    id: str
    slug: str
    name: str
    max_running: int = Field(description="How many of its jobs may run at once.")
    requires_idempotency: bool


@router.get("/v1/me", response_model=MeBody)
async def get_me(caller: AnyCaller, platform: OnPlatform) -> Response:
    """Say who calls: the tenant, and the key with its scopes."""
    async with platform.db.transaction() as session:
        tenant = await directory.find(session, caller.tenant)
        key = await keys.find(session, caller.tenant, caller.key)
    who = TenantBody(
        id=ids.wire("ten", tenant.id), slug=tenant.slug, name=tenant.name,
        max_running=tenant.max_running, requires_idempotency=tenant.requires_idempotency,
    )  # fmt: skip
    return answer(MeBody(tenant=who, key=KeyBody.of(key)))


@router.post(
    "/v1/keys",
    status_code=201,
    response_model=KeyBody,
    responses=raises("idempotency_key_reused", "idempotency_key_missing"),
)
async def create_key(
    body: NewKey, key: IdempotencyKey, caller: KeysWrite, platform: OnPlatform, request: Request
) -> Response:
    """Make an API key. The answer shows it once; a repeated request shows its record without the secret."""
    made = KeyId(ids.new())
    secret, replayed = None, False
    async with platform.db.transaction() as session:
        if key is not None:
            intent = records.fingerprint(body.model_dump(mode="json"))
            claim = await records.claim(session, caller.tenant, _ROUTE, key, intent, made)
            made, replayed = KeyId(claim.object), claim.replayed
        if not replayed:
            issued = await keys.issue(
                session, caller.tenant, body.name, body.scopes, actor=asking.actor(request, caller),
                expires_at=body.expires_at, within=caller.scopes, id=made,
            )  # fmt: skip
            secret = issued.secret
        facts = await keys.find(session, caller.tenant, made)
    headers = {"Location": f"/v1/keys/{ids.wire('key', made)}"}
    return answer(KeyBody.of(facts, secret), 201, wire.replay(headers, replayed))


@router.get("/v1/keys", response_model=Listed[KeyBody])
async def list_keys(
    caller: KeysWrite, platform: OnPlatform, limit: Limit = 20, cursor: Cursor = None
) -> Response:
    """List the tenant's keys, revoked ones too, newest first."""
    async with platform.db.transaction() as session:
        page = await keys.listed(session, caller.tenant, cursor, limit)
    data = [KeyBody.of(facts) for facts in page.items]
    return answer(Listed[KeyBody](data=data, next_cursor=page.next_cursor))


@router.get("/v1/keys/{id}", response_model=KeyBody, responses=raises("not_found"))
async def get_key(id_: PathId, caller: KeysWrite, platform: OnPlatform) -> Response:
    """Get one key, without its secret."""
    key = KeyId(wire.identified("key", id_, "key"))
    async with platform.db.transaction() as session:
        return answer(KeyBody.of(await keys.find(session, caller.tenant, key)))


@router.delete(
    "/v1/keys/{id}", status_code=204, response_class=Response, responses=raises("not_found")
)
async def revoke_key(
    id_: PathId, caller: KeysWrite, platform: OnPlatform, request: Request
) -> Response:
    """Revoke a key. It works no longer within a second; twice is once."""
    key = KeyId(wire.identified("key", id_, "key"))
    async with platform.db.transaction() as session:
        await keys.revoke(session, caller.tenant, key, actor=asking.actor(request, caller))
    return Response(status_code=204)
