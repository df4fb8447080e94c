"""A limiter on a real Valkey, and draws to try it with."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from app.ratelimit.buckets import Draw
from app.ratelimit.config import RatelimitConfig
from app.ratelimit.limiter import Limiter, Ticket

Opened = Callable[..., Awaitable[Limiter]]
PATIENT = RatelimitConfig.model_validate({"timeout": "PT5S"})  # a slow machine is no lost cache


def draw(name: str, per_minute: int, burst: int, cost: int = 1, *, when_lost: str = "hold") -> Draw:
    unit = "tokens" if name.endswith("tokens") else "requests"
    return Draw(f"rl:acme:{name}", name, unit, per_minute, burst, cost, when_lost)


def ticket(name: str, *, only: bool = True) -> Ticket:
    return Ticket("rl:acme:line", name, only)


@pytest.fixture
async def opened(cache_url: str) -> AsyncIterator[Opened]:
    """Opens limiters on the same Valkey, as many processes would."""
    limiters: list[Limiter] = []

    async def open_one(config: RatelimitConfig = PATIENT) -> Limiter:
        limiters.append(Limiter(cache_url, config))
        return limiters[-1]

    yield open_one
    for limiter in limiters:
        await limiter.close()


@pytest.fixture
async def limiter(opened: Opened) -> Limiter:
    return await opened()
