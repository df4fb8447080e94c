"""Refusals for asking too fast. Each says when to come back."""

import math
from datetime import timedelta
from typing import Final

from app.core import clock
from app.core.errors import TowpathError
from app.ratelimit.buckets import Standing, Verdict

MAX_RETRY_SECONDS: Final = 120  # clients of this field give up on a longer Retry-After


class RateLimited(TowpathError):
    """Too fast. Context: limit, retry_after (seconds, at most 120), retry_at where it is longer."""

    def __init__(self, wait_seconds: float, standings: tuple[Standing, ...], limit: str) -> None:
        seconds = max(1, math.ceil(wait_seconds))
        later = clock.now() + timedelta(seconds=seconds)
        longer = {"retry_at": clock.wire(later)} if seconds > MAX_RETRY_SECONDS else {}
        super().__init__(
            f"The limit {limit} is used up.", limit=limit,
            retry_after=min(seconds, MAX_RETRY_SECONDS), **longer,
        )  # fmt: skip
        self.standings = standings


class RateLimitedRequests(RateLimited):
    """Too many requests. Context: limit, retry_after, retry_at where it is longer than that."""

    code = "rate_limited_requests"


class RateLimitedTokens(RateLimited):
    """Too many tokens. Context: limit, retry_after, retry_at where it is longer than that."""

    code = "rate_limited_tokens"


class LimitsUnavailable(TowpathError):
    """The shared counters are out of reach, and this limit is not to be held without them."""

    code = "limits_unavailable"


def refusal(verdict: Verdict) -> RateLimited:
    """The error of a verdict that is no."""
    unit = next((one.unit for one in verdict.standings if one.name == verdict.limit), "requests")
    kind = RateLimitedTokens if unit == "tokens" else RateLimitedRequests
    return kind(verdict.wait_seconds, verdict.standings, verdict.limit or "requests")
