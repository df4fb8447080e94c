"""A report as a file that a spreadsheet opens."""

import csv
import io
from collections.abc import Sequence
from typing import Final

from app.core import money
from app.usage.reports import Row

_COUNTS: Final = (
    "calls", "input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens",
)  # fmt: skip
_BYTE_ORDER: Final = "\ufeff"  # without it Excel takes UTF-8 for the local code page
# A cell that begins so may run as a formula. The apostrophe is among them, so that taking one away
# again gives every text back. Source: OWASP, CSV Injection.
_RISKY: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


def as_csv(rows: Sequence[Row], group_by: Sequence[str]) -> str:
    """Comma-separated values (RFC 4180) with a header. A text that might run as a formula gets an
    apostrophe before it; numbers stay numbers, amounts are exact decimals of USD."""
    out = io.StringIO()
    out.write(_BYTE_ORDER)
    writer = csv.writer(out)
    writer.writerow([*group_by, *_COUNTS, "cost_usd", "unconfirmed_usd"])
    for row in rows:
        writer.writerow(
            [_text(row.keys[name]) for name in group_by]
            + [str(getattr(row, name)) for name in _COUNTS]
            + [money.to_wire(row.cost_nanousd), money.to_wire(row.unconfirmed_nanousd)]
        )
    return out.getvalue()


def _text(value: str) -> str:
    return "'" + value if value.startswith(_RISKY) else value
