"""Operators' routes over the price book: entries with the moment they hold from, never changed."""

from typing import Any, Final, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api import asking, wire
from app.api.asking import IdempotencyKey
from app.api.openapi import raises
from app.api.operations import ReasonBody
from app.api.routing import Admin, OnPlatform, Route
from app.api.wire import Cursor, Label, Limit, Listed, Moment, MomentIn, Rate, RateIn, answer
from app.core import ids, money
from app.core.errors import NotFound
from app.core.ids import PriceId
from app.idempotency import records
from app.usage import pricing

router: Final = APIRouter(route_class=Route, tags=["operators"])

_ROUTE: Final = "POST /v1/admin/prices"
_NEW: Final[dict[str, Any]] = {
    "provider": "openai", "model": "gpt-4o-mini", "input_usd_per_million": "0.15",
    "cached_input_usd_per_million": "0.075", "output_usd_per_million": "0.6",
}  # fmt: skip
_PRICE: Final[dict[str, Any]] = _NEW | {
    "id": "prc_01kb1c2v3e4m5n6p7q8r9s0t1v", "object": "price",
    "from_at": "2026-12-01T00:00:00.000000Z", "cache_write_usd_per_million": "0.15",
}  # fmt: skip


class NewPrice(ReasonBody):
    """A price to enter, in USD a million tokens. A class that is left out costs as plain input."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [_NEW | {"from_at": "2026-12-01T00:00:00Z", "reason": "their new list"}]
        },
    )

    provider: Label
    model: Label
    input_usd_per_million: RateIn
    output_usd_per_million: RateIn
    cached_input_usd_per_million: RateIn | None = None
    cache_write_usd_per_million: RateIn | None = None
    from_at: MomentIn | None = Field(None, description="Not in the past; without it, from now on.")


class PricedModel(BaseModel):
    """A hosted model, by its provider and name."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"provider": "openai", "model": "gpt-4o-mini"}]},
    )

    provider: Label
    model: Label


class PriceBody(BaseModel):
    """An entry of the price book. It holds until the next one of its model begins."""

    model_config = ConfigDict(json_schema_extra={"examples": [_PRICE]})

    id: str
    object: Literal["price"] = "price"
    provider: str
    model: str
    from_at: Moment
    input_usd_per_million: Rate
    cached_input_usd_per_million: Rate
    cache_write_usd_per_million: Rate
    output_usd_per_million: Rate

    @classmethod
    def of(cls, price: pricing.Price) -> "PriceBody":
        """An entry as it was read."""
        return cls(
            id=ids.wire("prc", price.id), provider=price.provider, model=price.model,
            from_at=price.from_at, input_usd_per_million=money.rate_to_wire(price.input_picousd),
            cached_input_usd_per_million=money.rate_to_wire(price.cached_input_picousd),
            cache_write_usd_per_million=money.rate_to_wire(price.cache_write_picousd),
            output_usd_per_million=money.rate_to_wire(price.output_picousd),
        )  # fmt: skip


@router.get("/v1/admin/prices", response_model=Listed[PriceBody])
async def list_prices(
    caller: Admin, platform: OnPlatform, limit: Limit = 20, cursor: Cursor = None
) -> Response:
    """List the price book, what was entered last first; entries that don't hold yet too."""
    async with platform.db.transaction() as session:
        page = await pricing.page(session, cursor, limit)
    data = [PriceBody.of(one) for one in page.items]
    return answer(Listed[PriceBody](data=data, next_cursor=page.next_cursor))


@router.post(
    "/v1/admin/prices",
    status_code=201,
    response_model=PriceBody,
    responses=raises("idempotency_key_reused", "idempotency_key_missing"),
)
async def enter_price(
    body: NewPrice, key: IdempotencyKey, caller: Admin, platform: OnPlatform, request: Request
) -> Response:
    """Enter a price, from now or a later moment on. Earlier calls keep theirs."""
    made, replayed = PriceId(ids.new()), False
    async with platform.db.transaction() as session:
        if key is not None:
            intent = records.fingerprint(body.model_dump(mode="json"))
            claim = await records.claim(session, caller.tenant, _ROUTE, key, intent, made)
            made, replayed = PriceId(claim.object), claim.replayed
        if not replayed:
            await pricing.enter(
                session, body.provider, body.model, input_picousd=body.input_usd_per_million,
                output_picousd=body.output_usd_per_million,
                cached_input_picousd=body.cached_input_usd_per_million,
                cache_write_picousd=body.cache_write_usd_per_million, from_at=body.from_at,
                actor=asking.actor(request, caller), reason=body.reason, id_=made,
            )  # fmt: skip
        price = PriceBody.of(await pricing.find(session, made))
    return answer(price, 201, wire.replay({}, replayed))


@router.post("/v1/admin/prices/import", response_model=PriceBody, responses=raises("not_found"))
async def import_price(
    body: PricedModel, caller: Admin, platform: OnPlatform, request: Request
) -> Response:
    """Enter a hosted model's list price, where it has no price yet. Gives the price in force."""
    actor = asking.actor(request, caller)
    async with platform.db.transaction() as session:
        price = await pricing.adopt(session, body.provider, body.model, actor=actor)
    if price is None:
        raise NotFound(f"No single list price of {body.provider}/{body.model} is known: enter it.")
    return answer(PriceBody.of(price))
