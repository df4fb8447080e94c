"""Limits at the door: what a request is charged before its body is read, and the headers that tell of them."""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from ipaddress import IPv6Network
from typing import Final

from fastapi import Request

from app.bootstrap.platform import ApiPlatform
from app.ratelimit import charging, errors
from app.ratelimit.buckets import Standing
from app.ratelimit.errors import RateLimited
from app.tenants import keys
from app.tenants.errors import Unauthenticated
from app.tenants.keys import Caller

# Counted where a job is admitted, by the job: a bulk of a hundred is a hundred requests.
AT_ADMISSION: Final = frozenset({"POST /v1/jobs", "POST /v1/jobs/bulk"})


async def come_in(request: Request) -> None:
    """Charge a request to its address, before anything of it is looked at. Raises RateLimitedRequests."""
    platform: ApiPlatform = request.state.platform
    config, address = platform.settings.ratelimit, _address(request)
    draw = charging.plain("address", address, config.address_per_minute or 1)
    verdict = await platform.limiter.take([draw])
    if not verdict.allowed:
        raise errors.refusal(verdict)


async def look_up(request: Request, secret: str) -> Caller:
    """Who calls with a key that isn't known at the moment. After too many refusals nothing is looked up.

    A key that was good is looked at whatever its address does: a neighbour's guesses don't lock it out.
    Raises Unauthenticated, TenantSuspended, RateLimitedRequests.
    """
    platform: ApiPlatform = request.state.platform
    config, address = platform.settings.ratelimit, _address(request)
    draws = [
        charging.plain("refused-address", address, config.failed_address_per_minute),
        charging.plain("refused-key", keys.fingerprint(secret), config.failed_key_per_minute),
    ]
    if not keys.was_good(platform.keys, secret):
        verdict = await platform.limiter.look(draws)
        if not verdict.allowed:
            platform.refusals.note(address, secret[: keys.SHOWN], held_off=True)
            raise errors.refusal(verdict)
    try:
        return await keys.identify(platform.keys, platform.db, secret)
    except Unauthenticated:
        platform.limiter.refund([replace(draw, cost=-1) for draw in draws])
        platform.refusals.note(address, secret[: keys.SHOWN], held_off=False)
        raise


def _address(request: Request) -> str:
    """Where a request comes from. Of IPv6 the network: one client has all of its addresses."""
    host = "" if request.client is None else request.client.host
    if ":" not in host:
        return host
    try:
        return str(IPv6Network((host.partition("%")[0], 64), strict=False).network_address)
    except ValueError:
        return host


async def enter(request: Request, caller: Caller, route: str) -> None:
    """Charge a request to the limits of its caller. Raises RateLimitedRequests, LimitsUnavailable, Overloaded."""
    if route in AT_ADMISSION:
        await request.state.platform.desk.shed()
        return
    if not caller.limits.rates:
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
