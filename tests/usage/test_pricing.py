"""The price book and exact costs."""

from datetime import timedelta

import psycopg
import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.core import clock, ids, money
from app.core.db import Database
from app.core.errors import Invalid
from app.core.ids import PriceId
from app.usage import catalogue, pricing
from app.usage.pricing import Price, Tokens
from tests.arrange import move_clock

OPERATOR = trail.Actor("operator", "test")


def price(
    given: float, spoken: float, *, cached: float | None = None, written: float | None = None
) -> Price:
    """A price from USD a million tokens."""
    pico = [round(one * 1_000_000) for one in
            (given, given if cached is None else cached, given if written is None else written, spoken)]  # fmt: skip
    return Price(PriceId(ids.new()), "p", "m", clock.now(), *pico)


@pytest.mark.parametrize(
    ("book", "tokens", "usd"),
    [
        pytest.param(price(2, 8, cached=0.5), Tokens(input=17_903, cached=17_817, output=100),
                     "0.0098805", id="C117: OpenAI"),
        pytest.param(price(3, 15, cached=0.3, written=3.75),
                     Tokens(input=130_213, cached=128_955, cache_write=1_253, output=200),
                     "0.04640025", id="C117: Anthropic"),
        pytest.param(price(0.05, 0.4), Tokens(input=17, output=482, reasoning=448), "0.00019365", id="C118"),
        pytest.param(price(0.02, 0), Tokens(input=3, output=0), "0.00000006", id="C116: tiny"),
        pytest.param(price(0.0001, 0), Tokens(input=1, output=0), "0.000000001", id="rounded up, once"),
        pytest.param(price(2, 8), Tokens(input=0, output=0), "0", id="nothing"),
    ],
)  # fmt: skip
def test_a_cost_is_exact(book: Price, tokens: Tokens, usd: str) -> None:
    assert money.to_wire(pricing.cost_nanousd(book, tokens)) == usd


def test_ten_thousand_tiny_costs_are_their_exact_sum() -> None:
    """C116"""
    cost = pricing.cost_nanousd(price(0.02, 0), Tokens(input=3, output=0))
    assert money.to_wire(10_000 * cost) == "0.0006"
    assert money.to_wire(sum([money.from_wire("0.1")] * 10)) == "1"


@pytest.mark.parametrize(
    "counts", [{"input": -1, "output": 0}, {"input": 3, "output": 0, "cached": 4},
               {"input": 3, "output": 0, "cached": 2, "cache_write": 2}, {"input": 0, "output": 1, "reasoning": 2}]
)  # fmt: skip
def test_counts_that_contradict_each_other_are_no_tokens(counts: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        Tokens(**counts)


def test_a_ceiling_takes_the_dearest_class_of_input() -> None:
    assert pricing.ceiling_nanousd(price(3, 15, cached=0.3, written=3.75), 1_000, 100) == 5_250_000
    assert pricing.ceiling_nanousd(price(2, 8, cached=0.5), 1_000, 100) == 2_800_000


async def test_a_price_holds_from_its_moment_until_the_next(session: AsyncSession) -> None:
    """C114: what was metered before keeps what it was metered at; the book says what held when."""
    now = clock.now()
    await pricing.enter(
        session, "p", "m", input_picousd=5_000_000, output_picousd=1, actor=OPERATOR
    )
    later = now + timedelta(days=7)
    await pricing.enter(
        session, "p", "m", input_picousd=4_000_000, output_picousd=1, from_at=later, actor=OPERATOR
    )
    assert await pricing.at(session, "p", "m", now - timedelta(days=1)) is None
    first = await pricing.at(session, "p", "m")
    before = await pricing.at(session, "p", "m", later - timedelta(milliseconds=1))
    after = await pricing.at(session, "p", "m", later)
    assert first is not None
    assert after is not None
    assert (first.input_picousd, after.input_picousd) == (5_000_000, 4_000_000)
    assert before == first
    await move_clock(session, "8 days")
    assert await pricing.at(session, "p", "m") == after


async def test_a_price_does_not_begin_in_the_past(session: AsyncSession) -> None:
    """C114"""
    with pytest.raises(Invalid, match=r"Leave it out .* or name a moment after 20\d\d-"):
        await pricing.enter(
            session, "p", "m", input_picousd=1, output_picousd=1, actor=OPERATOR,
            from_at=clock.now() - timedelta(hours=1),
        )  # fmt: skip


async def test_an_entered_price_is_in_the_trail(db: Database, admin: psycopg.Connection) -> None:
    async with db.transaction() as session:
        await pricing.enter(session, "p", "m", input_picousd=7, output_picousd=9, actor=OPERATOR)
    row = admin.execute("SELECT action, body FROM audit_entry").fetchone()
    assert row is not None
    assert row[0] == "price.enter"
    assert '"input_picousd":7' in row[1]


async def test_the_embedded_model_is_priced_once_and_not_free(session: AsyncSession) -> None:
    await pricing.seed(session)
    await pricing.seed(session)
    found = await pricing.at(session, *pricing.EMBEDDED)
    assert found is not None
    assert min(found.input_picousd, found.cached_input_picousd, found.output_picousd) > 0


async def test_prices_are_looked_up_together_and_an_unpriced_model_is_absent(
    session: AsyncSession,
) -> None:
    """C068"""
    await pricing.seed(session)
    asked = [pricing.EMBEDDED, ("local", "new-model-x")]
    assert set(await pricing.in_force(session, asked)) == {pricing.EMBEDDED}


async def test_a_list_price_is_adopted_where_there_is_none(session: AsyncSession) -> None:
    adopted = await pricing.adopt(session, "openai", "gpt-4o-mini", actor=OPERATOR)
    assert adopted is not None
    assert (adopted.input_picousd, adopted.cached_input_picousd, adopted.output_picousd) == (
        150_000, 75_000, 600_000,
    )  # fmt: skip
    assert await pricing.adopt(session, "openai", "gpt-4o-mini", actor=OPERATOR) == adopted


@pytest.mark.parametrize(
    ("provider", "model"),
    [("openai", "new-model-x"), ("nobody", "gpt-4o-mini"), ("openai", "text-embedding-3-small")],
)
async def test_what_the_catalogue_cannot_price_stays_unpriced(
    session: AsyncSession, provider: str, model: str
) -> None:
    """C068: an unknown model, an unknown provider, an input price without an output price."""
    assert await pricing.adopt(session, provider, model, actor=OPERATOR) is None


def test_a_price_by_tiers_is_not_listed() -> None:
    from genai_prices import data, types  # noqa: PLC0415 - as the catalogue does

    tiered = next(
        (home.id, model.id)
        for home in data.providers
        for model in home.models
        if isinstance(model.prices, types.ModelPrice)
        and isinstance(getattr(model.prices, "input_mtok", None), types.TieredPrices)
    )
    assert catalogue.look_up(*tiered) is None
