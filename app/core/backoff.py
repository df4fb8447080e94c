"""Delays of retries: exponential with full jitter.

Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 (full jitter).
"""

import random
from datetime import timedelta


def delay(
    tries: int, *, base: timedelta, cap: timedelta, rng: random.Random, factor: float = 2.0
) -> timedelta:
    """How long to wait after the `tries`-th failure (from 1): uniform in (0, min(cap, base × factor^(tries-1)))."""
    most = min(cap.total_seconds(), base.total_seconds() * factor ** min(tries - 1, 32))
    return timedelta(seconds=most * rng.random())
