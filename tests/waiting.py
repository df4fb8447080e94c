"""The one place where tests wait: for a condition, with a deadline."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Found = TypeVar("Found")


async def until(
    condition: Callable[[], Awaitable[Found | None]], *, seconds: float = 20, what: str = ""
) -> Found:
    """The first truthy answer of `condition`. Fails the test when the deadline passes without one."""
    end = time.monotonic() + seconds
    while True:
        found = await condition()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what or condition.__name__}")
        await asyncio.sleep(0.02)
