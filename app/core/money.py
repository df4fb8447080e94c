"""Money: a whole number of nano-dollars (10⁻⁹ USD); prices are whole pico-dollars a token.

One rounding a usage line, always up. On the wire a decimal string, exact, never a float.
"""

from decimal import Decimal, InvalidOperation
from typing import Final

NANO: Final = 1_000_000_000
PICO_PER_NANO: Final = 1_000
PER_MILLION: Final = 1_000_000  # pico-dollars a token in one dollar a million tokens
MAX_NANOUSD: Final = 2**63 - 1


def to_wire(nanousd: int) -> str:
    """`123_400` → `"0.0001234"`; whole dollars without a point: `"5"`."""
    sign, amount = ("-", -nanousd) if nanousd < 0 else ("", nanousd)
    whole, part = divmod(amount, NANO)
    return f"{sign}{whole}" + (f".{part:09d}".rstrip("0") if part else "")


def from_wire(text: str) -> int:
    """A decimal string of USD as nano-dollars. Raises ValueError where it is not one, or is finer."""
    try:
        amount = Decimal(text)
    except InvalidOperation:
        raise ValueError("not a decimal number") from None
    if not amount.is_finite():
        raise ValueError("not a finite number")
    scaled = amount.scaleb(9)
    nanousd = int(scaled)
    if scaled != nanousd:
        raise ValueError("finer than a nano-dollar (nine decimals)")
    if abs(nanousd) > MAX_NANOUSD:
        raise ValueError("too large")
    return nanousd


def from_pico(picousd: int) -> int:
    """Pico-dollars of one usage line as nano-dollars, rounded up once."""
    return -(-picousd // PICO_PER_NANO)


def rate_to_wire(picousd: int) -> str:
    """Pico-dollars a token as USD a million tokens: `2_500_000` → `"2.5"`."""
    return f"{Decimal(picousd) / PER_MILLION:f}"


def rate_from_wire(text: str) -> int:
    """USD a million tokens as pico-dollars a token, exactly. Raises ValueError."""
    try:
        amount = Decimal(text) * PER_MILLION
        picousd = int(amount)
    except (InvalidOperation, ValueError, OverflowError):
        raise ValueError("not a decimal number") from None
    if picousd != amount or not 0 <= picousd <= MAX_NANOUSD:
        raise ValueError("from 0 on, with six decimals at most")
    return picousd
