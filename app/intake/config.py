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
    max_attempts: PositiveInt = 3  # where the job doesn't say
