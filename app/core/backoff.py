"""Delays of retries: exponential with full jitter.

Source: M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015 (full jitter).
"""

import random
from datetime import timedelta


def delay(tries: int, *, base: timedelta, cap: timedelta, rng: random.Random) -> timedelta:
    """How long to wait after the `tries`-th failure (from 1): uniform in (0, min(cap, base × 2^(tries-1)))."""
    doubled: timedelta = base * float(2 ** min(tries - 1, 32))
    return min(cap, doubled) * rng.random()
