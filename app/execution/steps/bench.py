"""What a step works with, and what it hands back."""

from dataclasses import dataclass, field
from typing import Any

from app.execution.runtime import Runtime
from app.jobs.transitions import Claimed


@dataclass(frozen=True, slots=True)
class Bench:
    """The process's parts and the job in hand."""

    runtime: Runtime
    claimed: Claimed


@dataclass(frozen=True, slots=True)
class Outcome:
    """A step's result, and what is to be known of how it came about."""

    result: Any
    facts: dict[str, Any] = field(default_factory=dict)
