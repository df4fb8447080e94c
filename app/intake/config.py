"""Settings of admission."""

from datetime import timedelta

from pydantic import BaseModel, PositiveInt


class IntakeConfig(BaseModel, frozen=True, extra="forbid"):
    """How jobs come in."""

    head_start: timedelta = timedelta(seconds=60)  # what one step of priority is worth in the queue
    idempotency_kept: timedelta = timedelta(hours=24)
    known_for: timedelta = timedelta(
        seconds=1
    )  # a release or a switch reaches every process within this
    # What can be carried: near it the lane batch is refused first, then standard, interactive last.
    max_queued: PositiveInt = (
        10_000_000  # jobs of all tenants: dispatch is as fast with 10 as with a million
    )
    max_wait: timedelta | None = None  # of the oldest interactive job; None: queues may grow old
    max_pending: PositiveInt = (
        10_000  # requests of one process that wait for their commit: two seconds' worth
    )
    max_attempts: PositiveInt = 3  # where the job doesn't say
