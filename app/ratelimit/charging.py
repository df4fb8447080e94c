"""What one request draws on: a bucket for each limit of its caller that covers it; and the drawing itself."""

from dataclasses import dataclass, replace
from hashlib import blake2b

from app.core.ids import KeyId, TenantId
from app.ratelimit.buckets import Draw, Standing
from app.ratelimit.errors import refusal
from app.ratelimit.limiter import Limiter, Ticket
from app.tenants.limits import Limits, Rate


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as the limits see it."""

    tenant: TenantId
    key: KeyId | None
    route: str
    end_user: str | None = None
    tokens: int = 0


async def charge(
    limiter: Limiter, limits: Limits, request: Request, intent: str | None
) -> tuple[Standing, ...]:
    """Draw what a request costs, in one call; none where no limit covers it. Gives what is left in each bucket.

    `intent` is the client's name for it, by which it keeps its place if it is refused. Raises
    RateLimitedRequests, RateLimitedTokens, LimitsUnavailable.
    """
    drawn = draws(limits, request)
    if not drawn:
        return ()
    kind, name = ("any", request.end_user) if intent is None else ("one", intent)
    name = f"{kind}\n{request.key}\n{request.route}\n{name}"
    ticket = Ticket(f"rl:{request.tenant}:line", name, intent is not None)
    verdict = await limiter.take(drawn, ticket)
    if not verdict.allowed:
        raise refusal(verdict)
    return verdict.standings


def draws(limits: Limits, request: Request) -> list[Draw]:
    """The buckets of a request, and what it costs in each. A limit of what it doesn't have covers nothing."""
    found = []
    for rate in limits.rates:
        cost = 1 if rate.unit == "requests" else request.tokens
        if not cost or (rate.route is not None and rate.route != request.route):
            continue
        one = bucket(rate, request)
        if one is not None:
            found.append(one if cost == 1 else replace(one, cost=cost))
    return found


def bucket(rate: Rate, request: Request) -> Draw | None:
    """The bucket of one limit that a request would draw one unit from, or None: it covers nothing of it."""
    whose = _whose(rate.of, request)
    if whose is None:
        return None
    key = f"rl:{request.tenant}:{whose}:{rate.name}"
    return Draw(key, rate.name, rate.unit, rate.per_minute, rate.burst, 1, rate.when_lost)


def plain(name: str, whose: str, per_minute: int) -> Draw:
    """One request from a bucket of nobody's: of an address, or of a key that stands for nobody."""
    return Draw(f"rl:{name}:{whose}", name, "requests", per_minute, per_minute, 1)


def refund(limits: Limits, request: Request) -> list[Draw]:
    """The token buckets alone, with what goes back into each."""
    return [draw for draw in draws(limits, request) if draw.unit == "tokens"]


def _whose(of: str, request: Request) -> str | None:
    match of:
        case "tenant":
            return "-"
        case "key":
            return None if request.key is None else str(request.key)
        case _:
            # A name of a person, perhaps: it doesn't leave for another store in clear.
            user = request.end_user
            return None if user is None else blake2b(user.encode(), digest_size=12).hexdigest()
