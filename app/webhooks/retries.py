"""What follows from a try: delivered, again later, or never again. Pure.

Source of the schedule: Standard Webhooks 1.0.0, "Retries": eight tries over about 27.5 hours.
"""

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from app.core.http import Sent

SCHEDULE: Final = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=10),
)
JITTER: Final = 0.2
# A receiver may ask for patience, not for eternity.
LONGEST_WAIT: Final = timedelta(hours=24)
GONE: Final = 410
GONE_REASON: Final = "the endpoint answered 410 Gone"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The delivery's next state; `pending` after `delay`. `reason` says why not `delivered`."""

    state: str
    reason: str | None = None
    delay: timedelta = timedelta(0)
    gone: bool = False


def after(tries: int, sent: Sent, rng: random.Random) -> Verdict:
    """The verdict on the `tries`-th try (from 1)."""
    if sent.status is not None and 200 <= sent.status < 300:
        return Verdict("delivered")
    if sent.status == GONE:
        return Verdict("failed", GONE_REASON, gone=True)
    reason = _reason(sent)
    if tries > len(SCHEDULE):
        return Verdict("failed", f"{reason}; given up after {tries} tries")
    delay = SCHEDULE[tries - 1] * (1 + JITTER * rng.uniform(-1, 1))
    if sent.status is not None and sent.retry_after_seconds is not None:
        asked = timedelta(seconds=min(sent.retry_after_seconds, LONGEST_WAIT.total_seconds()))
        delay = max(delay, asked)
    return Verdict("pending", reason, delay)


def _reason(sent: Sent) -> str:
    if sent.status is None:
        return sent.error or "no answer"
    if 300 <= sent.status < 400:
        return f"redirect ({sent.status}), which is never followed"
    return f"status {sent.status}"
