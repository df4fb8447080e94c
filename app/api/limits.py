"""Limits at the door: what a request is charged before its body is read, and the headers that tell of them."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from fastapi import Request

from app.ratelimit import charging
from app.ratelimit.buckets import Standing
from app.ratelimit.errors import RateLimited
from app.tenants.keys import Caller

# Counted where a job is admitted, by the job: a bulk of a hundred is a hundred requests.
AT_ADMISSION: Final = frozenset({"POST /v1/jobs", "POST /v1/jobs/bulk"})


async def enter(request: Request, caller: Caller, route: str) -> None:
    """Charge a request to the limits of its caller. Raises RateLimitedRequests, LimitsUnavailable."""
    if not caller.limits.rates or route in AT_ADMISSION:
        return
    asked = charging.Request(caller.tenant, caller.key, route)
    intent = request.headers.get("idempotency-key")
    limiter = request.state.platform.limiter
    tell(request, await charging.charge(limiter, caller.limits, asked, intent))


def tell(request: Request, standings: Sequence[Standing]) -> None:
    """Have the answer say what is left."""
    if standings:
        said = headers(standings, None).items()
        request.state.headers = [(name.encode(), value.encode()) for name, value in said]


def headers(standings: Sequence[Standing], refusal: RateLimited | None) -> dict[str, str]:
    """Every limit that a request was charged to, and the tightest of each unit.

    Source: draft-ietf-httpapi-ratelimit-headers-11; the x-ratelimit ones are the custom of this field.
    """
    resets = {
        one.name: refusal.context["retry_after"]
        if refusal is not None and one.name == refusal.context["limit"]
        else math.ceil(one.reset_seconds)
        for one in standings
    }
    said = {
        "ratelimit-policy": ", ".join(map(_policy, standings)),
        "ratelimit": ", ".join(
            f'"{one.name}";r={one.remaining};t={resets[one.name]}' for one in standings
        ),
    }
    for unit in ("requests", "tokens"):
        counted = [one for one in standings if one.unit == unit]
        if counted:
            # The one that refused, else the one of which the least is left.
            tightest = min(counted, key=lambda one: (one.name != _refused(refusal), one.remaining))
            said |= {
                f"x-ratelimit-limit-{unit}": str(tightest.burst),
                f"x-ratelimit-remaining-{unit}": str(tightest.remaining),
                f"x-ratelimit-reset-{unit}": str(resets[tightest.name]),
            }
    return said


def _refused(refusal: RateLimited | None) -> str | None:
    return None if refusal is None else str(refusal.context["limit"])


def _policy(one: Standing) -> str:
    return _written(one.name, one.unit, one.per_minute, one.burst)


@lru_cache(maxsize=10_000)
def _written(name: str, unit: str, per_minute: int, burst: int) -> str:
    # What may come at once, and the seconds in which it comes back.
    window = math.ceil(burst * 60 / per_minute)
    return f'"{name}";q={burst};w={window}' + ("" if unit == "requests" else f';qu="{unit}"')
