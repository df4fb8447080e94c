"""When a step that failed is tried again: its own policy, else its workflow's, else the platform's."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal, get_args

from pydantic import BaseModel, Field

# Faults that may pass. Every other one is permanent: it would come again, and is never retried.
Passing = Literal[
    "provider_failed", "step_timeout", "internal_error", "tool_failed", "tool_timed_out", "tool_crashed",
    "unknown_tool",
]  # fmt: skip
PASSING: Final[tuple[Passing, ...]] = get_args(Passing)
MAX_ATTEMPTS: Final = 20


class Retry(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """A policy as a definition has it. What isn't given is taken from the next one up."""

    max_attempts: int | None = Field(default=None, ge=1, le=MAX_ATTEMPTS)
    base_seconds: float | None = Field(default=None, gt=0, le=3_600)
    factor: float | None = Field(default=None, ge=1, le=10)
    cap_seconds: float | None = Field(default=None, gt=0, le=86_400)
    on: tuple[Passing, ...] | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy without gaps. `max_attempts` are tries of one step in one run; the job's bounds them all."""

    max_attempts: int
    base: timedelta
    factor: float
    cap: timedelta
    on: tuple[str, ...]

    def over(self, given: Retry | None) -> "Policy":
        """This policy with what `given` says in place of its own."""
        if given is None:
            return self
        return Policy(
            self.max_attempts if given.max_attempts is None else given.max_attempts,
            self.base if given.base_seconds is None else timedelta(seconds=given.base_seconds),
            self.factor if given.factor is None else given.factor,
            self.cap if given.cap_seconds is None else timedelta(seconds=given.cap_seconds),
            self.on if given.on is None else given.on,
        )
