"""Webhook endpoints: where a tenant is told, what was sent there, and how it went."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from app.api import asking, wire
from app.api.asking import IdempotencyKey
from app.api.openapi import raises
from app.api.routing import OnPlatform, Route, WebhooksWrite
from app.api.wire import Cursor, Limit, Listed, Moment, PathId, answer
from app.core import ids
from app.core.ids import DeliveryId, EndpointId
from app.idempotency import records
from app.outbox import events
from app.webhooks import deliveries, endpoints
from app.webhooks.deliveries import Logged, Try
from app.webhooks.endpoints import Endpoint

router: Final = APIRouter(route_class=Route, tags=["webhooks"])

DeliveryPath = Annotated[str, Path(alias="delivery", description="The delivery's id.")]

# That a delivery is on its way just now is the platform's own business: it is shown as pending.
_STATES: Final[dict[str | None, tuple[str, ...]]] = {
    None: deliveries.STATES, "pending": ("pending", "dispatched"), "delivered": ("delivered",),
    "failed": ("failed",),
}  # fmt: skip
_ROUTE: Final = "POST /v1/webhook_endpoints"
_ENDPOINT: Final[dict[str, Any]] = {
    "id": "whe_01kb1c2v3e4m5n6p7q8r9s0t1v", "object": "webhook_endpoint",
    "url": "https://example.com/hooks/towpath", "description": "", "events": ["job.succeeded"],
    "status": "enabled", "disabled_reason": None, "old_secret_until": None,
    "created_at": "2026-11-25T06:00:00.000000Z", "secret": None,
}  # fmt: skip
_DELIVERY: Final[dict[str, Any]] = {
    "id": "dlv_01kb1c2v3e4m5n6p7q8r9s0t1v", "object": "webhook_delivery",
    "event": "evt_01kb1c2v3e4m5n6p7q8r9s0t1v", "event_type": "job.succeeded", "generation": 0,
    "status": "delivered", "reason": None, "created_at": "2026-11-25T06:00:00.000000Z",
    "next_try_at": None, "finished_at": "2026-11-25T06:00:00.200000Z",
    "tries": [{"number": 1, "at": "2026-11-25T06:00:00.100000Z", "status": 200, "error": None, "duration_ms": 41}],
}  # fmt: skip


class NewEndpoint(BaseModel):
    """An endpoint to register."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "url": "https://example.com/hooks/towpath",
                    "events": ["job.succeeded", "job.failed"],
                }
            ]
        },
    )

    url: str = Field(min_length=1, max_length=2_000)
    events: list[str] = Field(
        default_factory=lambda: ["*"],
        max_length=32,
        description=f"Of {', '.join(events.EVENTS)}; or `*` alone, all of them; or none: then only "
        "jobs that have its URL as their `callback_url` are told of here.",
    )
    description: str = Field("", max_length=endpoints.DESCRIPTION_LENGTH)


class EndpointChange(BaseModel):
    """What to change. What isn't given stays."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"enabled": True}]})

    url: str | None = Field(None, min_length=1, max_length=2_000)
    events: list[str] | None = Field(None, max_length=32)
    description: str | None = Field(None, max_length=endpoints.DESCRIPTION_LENGTH)
    enabled: StrictBool | None = None


class EndpointBody(BaseModel):
    """An endpoint."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ENDPOINT]})

    id: str
    object: Literal["webhook_endpoint"] = "webhook_endpoint"
    url: str
    description: str
    events: list[str]
    status: Literal["enabled", "disabled"]
    disabled_reason: str | None
    old_secret_until: Moment | None = Field(
        description="Until then the secret before the last rotation signs too."
    )
    created_at: Moment
    secret: str | None = Field(
        None, description="`whsec_…`: in the answer that made it, and never again."
    )

    @classmethod
    def of(cls, endpoint: Endpoint, secret: str | None = None) -> "EndpointBody":
        """An endpoint as it was read; `secret` only where it was made just now."""
        return cls(
            id=ids.wire("whe", endpoint.id), url=endpoint.url, description=endpoint.description,
            events=endpoint.events, status=endpoint.state, disabled_reason=endpoint.disabled_reason,
            old_secret_until=endpoint.old_secret_until, created_at=endpoint.created_at, secret=secret,
        )  # fmt: skip


class TryBody(BaseModel):
    """One request and how it ended."""

    number: int
    at: Moment
    status: int | None
    error: str | None
    duration_ms: int

    @classmethod
    def of(cls, one: Try) -> "TryBody":
        """A try as it was read."""
        return cls(
            number=one.number, at=one.at, status=one.status, error=one.error,
            duration_ms=one.duration_ms,
        )  # fmt: skip


class DeliveryBody(BaseModel):
    """One event to one endpoint, over all its tries."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DELIVERY]})

    id: str
    object: Literal["webhook_delivery"] = "webhook_delivery"
    event: str = Field(description="The `webhook-id`: the same over all tries and redeliveries.")
    event_type: str
    generation: int = Field(description="0, and one more with each redelivery by hand.")
    status: Literal["pending", "delivered", "failed"]
    reason: str | None
    created_at: Moment
    next_try_at: Moment | None
    finished_at: Moment | None
    tries: list[TryBody]

    @classmethod
    def of(cls, logged: Logged) -> "DeliveryBody":
        """A delivery as it was read."""
        return cls(
            id=ids.wire("dlv", logged.id), event=ids.wire("evt", logged.event),
            event_type=logged.event_name, generation=logged.generation,
            status="pending" if logged.state in _STATES["pending"] else logged.state,
            reason=logged.reason, created_at=logged.created_at, next_try_at=logged.due_at,
            finished_at=logged.finished_at, tries=[TryBody.of(one) for one in logged.tries],
        )  # fmt: skip


@router.post(
    "/v1/webhook_endpoints",
    status_code=201,
    response_model=EndpointBody,
    responses=raises("idempotency_key_reused", "idempotency_key_missing"),
)
async def create_endpoint(
    body: NewEndpoint,
    key: IdempotencyKey,
    caller: WebhooksWrite,
    platform: OnPlatform,
    request: Request,
) -> Response:
    """Register a URL that is called when something happens. The answer shows the signing secret once. A URL
    that leads to a private address is refused, unless an operator has allowed it.
    """
    url = await endpoints.check_url(platform.sender, body.url)
    made, replayed, secret = EndpointId(ids.new()), False, None
    async with platform.db.transaction() as session:
        if key is not None:
            intent = records.fingerprint(body.model_dump())
            claim = await records.claim(session, caller.tenant, _ROUTE, key, intent, made)
            made, replayed = EndpointId(claim.object), claim.replayed
        if not replayed:
            secret = await endpoints.create(
                session, platform.vault, caller.tenant, made, url=url, events=body.events,
                description=body.description, actor=asking.actor(request, caller),
                request_id=request.state.request_id,
            )  # fmt: skip
        endpoint = await endpoints.get(session, caller.tenant, made)
    headers = {"Location": f"/v1/webhook_endpoints/{ids.wire('whe', made)}"}
    return answer(EndpointBody.of(endpoint, secret), 201, wire.replay(headers, replayed))


@router.get("/v1/webhook_endpoints", response_model=Listed[EndpointBody])
async def list_endpoints(
    caller: WebhooksWrite, platform: OnPlatform, limit: Limit = 20, cursor: Cursor = None
) -> Response:
    """List the tenant's endpoints, newest first."""
    async with platform.db.transaction() as session:
        page = await endpoints.listed(session, caller.tenant, limit=limit, cursor=cursor)
    data = [EndpointBody.of(one) for one in page.items]
    return answer(Listed[EndpointBody](data=data, next_cursor=page.next_cursor))


@router.get(
    "/v1/webhook_endpoints/{id}", response_model=EndpointBody, responses=raises("not_found")
)
async def get_endpoint(id_: PathId, caller: WebhooksWrite, platform: OnPlatform) -> Response:
    """Get one endpoint, without its secret."""
    endpoint = _endpoint(id_)
    async with platform.db.transaction() as session:
        return answer(EndpointBody.of(await endpoints.get(session, caller.tenant, endpoint)))


@router.patch(
    "/v1/webhook_endpoints/{id}", response_model=EndpointBody, responses=raises("not_found")
)
async def change_endpoint(
    id_: PathId, body: EndpointChange, caller: WebhooksWrite, platform: OnPlatform, request: Request
) -> Response:
    """Change an endpoint, or enable it again. Disabling ends the deliveries that wait for it."""
    endpoint = _endpoint(id_)
    url = None if body.url is None else await endpoints.check_url(platform.sender, body.url)
    async with platform.db.transaction() as session:
        changed = await endpoints.change(
            session, caller.tenant, endpoint, actor=asking.actor(request, caller), url=url,
            events=body.events, description=body.description, enabled=body.enabled,
            request_id=request.state.request_id,
        )  # fmt: skip
    return answer(EndpointBody.of(changed))


@router.delete(
    "/v1/webhook_endpoints/{id}",
    status_code=204,
    response_class=Response,
    responses=raises("not_found"),
)
async def delete_endpoint(
    id_: PathId, caller: WebhooksWrite, platform: OnPlatform, request: Request
) -> Response:
    """Delete an endpoint and its secrets. Deliveries that wait for it end as failed."""
    endpoint = _endpoint(id_)
    async with platform.db.transaction() as session:
        await endpoints.delete(
            session, caller.tenant, endpoint, actor=asking.actor(request, caller),
            request_id=request.state.request_id,
        )  # fmt: skip
    return Response(status_code=204)


@router.post(
    "/v1/webhook_endpoints/{id}/rotate_secret",
    response_model=EndpointBody,
    responses=raises("not_found"),
)
async def rotate_secret(
    id_: PathId, caller: WebhooksWrite, platform: OnPlatform, request: Request
) -> Response:
    """Make a new signing secret and show it once. For 24 hours the one before it signs too."""
    endpoint = _endpoint(id_)
    async with platform.db.transaction() as session:
        secret = await endpoints.rotate_secret(
            session, platform.vault, caller.tenant, endpoint, actor=asking.actor(request, caller),
            request_id=request.state.request_id,
        )  # fmt: skip
    async with platform.db.transaction() as session:
        rotated = await endpoints.get(session, caller.tenant, endpoint)
    return answer(EndpointBody.of(rotated, secret))


@router.post(
    "/v1/webhook_endpoints/{id}/test",
    status_code=202,
    response_model=DeliveryBody,
    responses=raises("not_found", "endpoint_disabled"),
)
async def test_endpoint(id_: PathId, caller: WebhooksWrite, platform: OnPlatform) -> Response:
    """Send a test event to this endpoint alone. The answer is its delivery, which can be followed."""
    endpoint = _endpoint(id_)
    async with platform.db.transaction() as session:
        made = await endpoints.send_test(session, caller.tenant, endpoint)
        logged = await deliveries.get(session, caller.tenant, endpoint, made)
    return answer(DeliveryBody.of(logged), 202)


@router.get(
    "/v1/webhook_endpoints/{id}/deliveries",
    response_model=Listed[DeliveryBody],
    responses=raises("not_found"),
)
async def list_deliveries(
    id_: PathId,
    caller: WebhooksWrite,
    platform: OnPlatform,
    limit: Limit = 20,
    cursor: Cursor = None,
    status: Annotated[Literal["pending", "delivered", "failed"] | None, Query()] = None,
) -> Response:
    """List what was sent to an endpoint, newest first, with every try."""
    endpoint = _endpoint(id_)
    async with platform.db.transaction() as session:
        page = await deliveries.listed(
            session, caller.tenant, endpoint, limit=limit, cursor=cursor, states=_STATES[status]
        )
    data = [DeliveryBody.of(one) for one in page.items]
    return answer(Listed[DeliveryBody](data=data, next_cursor=page.next_cursor))


@router.get(
    "/v1/webhook_endpoints/{id}/deliveries/{delivery}",
    response_model=DeliveryBody,
    responses=raises("not_found"),
)
async def get_delivery(
    id_: PathId, delivery: DeliveryPath, caller: WebhooksWrite, platform: OnPlatform
) -> Response:
    """Get one delivery with its tries."""
    endpoint = _endpoint(id_)
    wanted = DeliveryId(wire.identified("dlv", delivery, "delivery"))
    async with platform.db.transaction() as session:
        logged = await deliveries.get(session, caller.tenant, endpoint, wanted)
    return answer(DeliveryBody.of(logged))


@router.post(
    "/v1/webhook_endpoints/{id}/deliveries/{delivery}/redeliver",
    status_code=202,
    response_model=DeliveryBody,
    responses=raises("not_found", "endpoint_disabled"),
)
async def redeliver(
    id_: PathId, delivery: DeliveryPath, caller: WebhooksWrite, platform: OnPlatform
) -> Response:
    """Send an event again, under its own id. A delivery that is still open is hastened instead."""
    endpoint = _endpoint(id_)
    wanted = DeliveryId(wire.identified("dlv", delivery, "delivery"))
    async with platform.db.transaction() as session:
        made = await deliveries.redeliver(session, caller.tenant, endpoint, wanted)
        logged = await deliveries.get(session, caller.tenant, endpoint, made)
    return answer(DeliveryBody.of(logged), 202)


def _endpoint(text: str) -> EndpointId:
    return EndpointId(wire.identified("whe", text, "webhook endpoint"))
