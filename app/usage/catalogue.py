"""List prices of hosted models, from the data inside the genai-prices package: nothing is fetched."""

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Final

from app.core import clock

_PICOUSD: Final = 1_000_000  # pico-dollars a token in one dollar a million tokens


@dataclass(frozen=True, slots=True)
class Listed:
    """One model's list price in pico-dollars a token, and where it is from."""

    input_picousd: int
    output_picousd: int
    cached_input_picousd: int | None
    cache_write_picousd: int | None
    source: str


def look_up(provider: str, model: str) -> Listed | None:
    """The list price of a model today, or None where it is unknown or not one number a token class.

    A price by tiers, by the hour or by the request has no place in our book: such a model is entered
    by hand, at its dearest. One with an input price and no output price is not priced.
    """
    # Loading every provider's prices takes 0.3 s and some memory, which only an operator's import needs.
    from genai_prices import __version__, data, types  # noqa: PLC0415

    home = next((known for known in data.providers if known.id == provider), None)
    found = home.find_model(model) if home is not None else None
    if found is None:
        return None
    if isinstance(found.prices, list) and any(
        isinstance(one.constraint, types.TimeOfDateConstraint) for one in found.prices
    ):
        return None
    prices = found.get_prices(clock.now())
    fee = getattr(prices, "requests_kcount", None)
    prices_of = [
        getattr(prices, name, None)
        for name in ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok")
    ]
    if fee is not None or any(isinstance(one, types.TieredPrices) for one in prices_of):
        return None
    plain_input, output, cached, written = [_picousd(one) for one in prices_of]
    if plain_input is None or output is None:
        return None
    return Listed(plain_input, output, cached, written, f"genai-prices {__version__}")


def _picousd(usd_per_million: Decimal | None) -> int | None:
    if usd_per_million is None:
        return None
    return int((usd_per_million * _PICOUSD).to_integral_value(ROUND_CEILING))
