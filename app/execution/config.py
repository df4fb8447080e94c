"""Settings of execution."""

from datetime import timedelta

from pydantic import BaseModel, PositiveInt


class ExecutionConfig(BaseModel, frozen=True, extra="forbid"):
    """How attempts run."""

    slots: PositiveInt = 200  # jobs in flight in one worker process
    result_bytes: PositiveInt = 1024 * 1024  # of a step; larger ones belong into files
    retry_base: timedelta = timedelta(
        seconds=2
    )  # a job's second try waits up to this, then doubling
    retry_cap: timedelta = timedelta(minutes=5)
    retry_after_cap: timedelta = timedelta(hours=1)  # the longest that a provider may ask for
