"""Delays: within their bounds, and spread over all of them."""

import random
from datetime import timedelta

from app.core import backoff


def test_a_delay_is_uniform_up_to_a_bound_that_grows_to_its_cap() -> None:
    rng = random.Random(1)  # noqa: S311 - a delay, not a secret
    base, cap = timedelta(seconds=2), timedelta(seconds=30)
    for tries, most in ((1, 2), (2, 6), (3, 18), (4, 30), (500, 30)):
        seen = [
            backoff.delay(tries, base=base, cap=cap, factor=3, rng=rng).total_seconds()
            for _ in range(2_000)
        ]
        assert 0 <= min(seen) < most * 0.01
        assert most * 0.99 < max(seen) <= most
        assert abs(sum(seen) / len(seen) - most / 2) < most * 0.05
