"""The price book: what a model costs from a moment on, what a call may cost, what it did cost."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from sqlalchemy import Select, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.core import clock, ids, lists, money, statements
from app.core.errors import Invalid, NotFound
from app.core.ids import PriceId
from app.core.lists import Page
from app.usage import catalogue, models

_IN_FORCE: Final = statements.load(__file__, "prices_in_force")

# The embedded model's price is small and not zero, so that money is real from the first run:
# 0.02 USD a million input tokens (half of it where cached), 0.08 USD a million output tokens.
EMBEDDED: Final = ("local", "smollm2-135m")
_EMBEDDED_FROM: Final = datetime(2025, 1, 1, tzinfo=UTC)  # fixed, so that seeding twice is once
_EMBEDDED_PICOUSD: Final = {"input": 20_000, "cached_input": 10_000, "output": 80_000}


@dataclass(frozen=True, slots=True)
class Price:
    """What one model costs, in pico-dollars a token."""

    id: PriceId
    provider: str
    model: str
    from_at: datetime
    input_picousd: int
    cached_input_picousd: int
    cache_write_picousd: int
    output_picousd: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """Tokens of one call. Parts are within their whole: cached and cache_write within input,
    reasoning within output, whatever shape the provider reports them in."""

    input: int
    output: int
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0

    def __post_init__(self) -> None:
        least = min(self.input, self.output, self.cached, self.cache_write, self.reasoning)
        if least < 0 or self.cached + self.cache_write > self.input or self.reasoning > self.output:
            raise ValueError("token counts do not fit each other")


def ceiling_nanousd(price: Price, input_bound_tokens: int, max_output_tokens: int) -> int:
    """The most a call can cost: every input token in the dearest input class, all output used."""
    dearest = max(price.input_picousd, price.cached_input_picousd, price.cache_write_picousd)
    return money.from_pico(input_bound_tokens * dearest + max_output_tokens * price.output_picousd)


def cost_nanousd(price: Price, tokens: Tokens) -> int:
    """What a call cost, rounded up once."""
    plain = tokens.input - tokens.cached - tokens.cache_write
    return money.from_pico(
        plain * price.input_picousd
        + tokens.cached * price.cached_input_picousd
        + tokens.cache_write * price.cache_write_picousd
        + tokens.output * price.output_picousd
    )


async def in_force(
    session: AsyncSession, asked: Iterable[tuple[str, str]], moment: datetime | None = None
) -> dict[tuple[str, str], Price]:
    """The prices of these (provider, model) at a moment, the present if None. An unpriced one is absent."""
    pairs = list(asked)
    bind = {
        "providers": [provider for provider, _ in pairs],
        "models": [model for _, model in pairs],
        "moment": moment,
    }
    found = [Price(*row) for row in await session.execute(_IN_FORCE.text, bind)]
    return {(price.provider, price.model): price for price in found}


async def at(
    session: AsyncSession, provider: str, model: str, moment: datetime | None = None
) -> Price | None:
    """The price of a model at a moment, the present if None."""
    return (await in_force(session, [(provider, model)], moment)).get((provider, model))


async def listed(session: AsyncSession) -> list[Price]:
    """The whole book, by provider and model, the newest entry of each first."""
    entry = models.Price
    ordered = _entries().order_by(entry.provider, entry.model, entry.from_at.desc())
    return [Price(*row) for row in await session.execute(ordered)]


async def page(session: AsyncSession, cursor: str | None, limit: int) -> Page[Price]:
    """A page of the book, what was entered last first. Raises Invalid for a cursor that isn't ours."""
    query = _entries()
    if cursor is not None:
        last = lists.after(cursor)
        if last is None:
            raise Invalid.at("/cursor", "is not a cursor of this list")
        query = query.where(models.Price.id < last)
    rows = await session.execute(query.order_by(models.Price.id.desc()).limit(limit + 1))
    found = [Price(*row) for row in rows]
    items = found[:limit]
    return Page(items, lists.cursor(items[-1].id) if len(found) > limit else None)


async def find(session: AsyncSession, price: PriceId) -> Price:
    """One entry of the book. Raises NotFound."""
    row = (await session.execute(_entries().where(models.Price.id == price))).one_or_none()
    if row is None:
        raise NotFound("There is no such price.")
    return Price(*row)


async def enter(
    session: AsyncSession,
    provider: str,
    model: str,
    *,
    input_picousd: int,
    output_picousd: int,
    cached_input_picousd: int | None = None,
    cache_write_picousd: int | None = None,
    from_at: datetime | None = None,
    actor: trail.Actor,
    reason: str | None = None,
    id_: PriceId | None = None,
) -> PriceId:
    """Enter a price that holds from `from_at` on, at once if None. A class left out costs as plain input.

    Raises Invalid for a beginning in the past: what was metered keeps the price it was metered at; and for
    one that an entry of the model has already. `id_` was made before, where an idempotency record names it.
    """
    now = await session.scalar(select(func.app_now()))
    if from_at is not None and now is not None and from_at < now:
        raise Invalid.at(
            "/from_at",
            "A price can't begin in the past: what was metered since then keeps its own. Leave it out for "
            f"a price from now on, or name a moment after {clock.wire(now)}.",
        )
    id_ = id_ or PriceId(ids.new())
    values = {
        "input_picousd": input_picousd,
        "cached_input_picousd": _or(cached_input_picousd, input_picousd),
        "cache_write_picousd": _or(cache_write_picousd, input_picousd),
        "output_picousd": output_picousd,
    }
    row = insert(models.Price).values(
        id=id_, provider=provider, model=model, from_at=from_at or now, created_at=now, **values
    )
    made = await session.execute(row.on_conflict_do_nothing().returning(models.Price.id))
    if made.one_or_none() is None:
        raise Invalid.at("/from_at", "another price of this model begins at that moment")
    entry = trail.entry(
        trail.PLATFORM,
        actor=actor,
        action="price.enter",
        object=ids.wire("prc", id_),
        after={"provider": provider, "model": model, "from_at": from_at or now, **values},
        reason=reason,
    )
    await trail.append(session, entry)
    return id_


async def adopt(
    session: AsyncSession, provider: str, model: str, *, actor: trail.Actor
) -> Price | None:
    """The price in force, entered from the catalogue of list prices where there is none yet.

    None: the catalogue doesn't know the model, or its price isn't one number a token class.
    """
    held = await at(session, provider, model)
    listed = None if held is not None else catalogue.look_up(provider, model)
    if listed is not None:
        await enter(
            session, provider, model, actor=actor, reason=f"list price, {listed.source}",
            input_picousd=listed.input_picousd, output_picousd=listed.output_picousd,
            cached_input_picousd=listed.cached_input_picousd,
            cache_write_picousd=listed.cache_write_picousd,
        )  # fmt: skip
        held = await at(session, provider, model)
    return held


async def seed(session: AsyncSession) -> None:
    """Enter the embedded model's price, once and for all however often it is called."""
    provider, model = EMBEDDED
    row = {
        "id": ids.new(), "provider": provider, "model": model, "from_at": _EMBEDDED_FROM,
        "input_picousd": _EMBEDDED_PICOUSD["input"],
        "cached_input_picousd": _EMBEDDED_PICOUSD["cached_input"],
        "cache_write_picousd": _EMBEDDED_PICOUSD["input"],
        "output_picousd": _EMBEDDED_PICOUSD["output"],
        "created_at": func.app_now(),
    }  # fmt: skip
    await session.execute(insert(models.Price).values(row).on_conflict_do_nothing())


def _entries() -> Select[PriceId, str, str, datetime, int, int, int, int]:
    entry = models.Price
    return select(
        entry.id, entry.provider, entry.model, entry.from_at, entry.input_picousd,
        entry.cached_input_picousd, entry.cache_write_picousd, entry.output_picousd,
    )  # fmt: skip


def _or(value: int | None, otherwise: int) -> int:
    return otherwise if value is None else value
