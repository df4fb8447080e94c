"""The legal moves of a job: one table, from which checks, docs and writers take what they need."""

from collections.abc import Iterable
from typing import Final

LANES: Final = ("interactive", "standard", "batch")
# Where jobs run alone whose workers were lost. No client asks for it, none is shown it: `home_lane` is theirs.
QUARANTINE: Final = "quarantine"

OPEN: Final = ("scheduled", "queued", "dispatched", "running", "waiting")
TERMINAL: Final = ("succeeded", "failed", "cancelled", "expired")
STATES: Final = OPEN + TERMINAL

WAITS: Final = (
    "approval", "backoff", "budget", "capacity", "children", "intervention", "signal", "timer",
)  # fmt: skip

# from → to, with what moves it
MOVES: Final[dict[tuple[str, str], str]] = {
    ("scheduled", "queued"): "its time has come",
    ("scheduled", "cancelled"): "cancel",
    ("scheduled", "expired"): "deadline passed",
    ("queued", "dispatched"): "dispatch",
    ("queued", "cancelled"): "cancel",
    ("queued", "expired"): "deadline passed",
    ("dispatched", "running"): "claim",
    ("dispatched", "queued"): "publish failed, or the dispatch was lost",
    ("dispatched", "waiting"): "dispatches lost again: back off",
    ("dispatched", "cancelled"): "cancel",
    ("dispatched", "expired"): "deadline passed",
    ("running", "succeeded"): "finish",
    ("running", "failed"): "a final fault, or tries used up",
    ("running", "cancelled"): "cancel answered by the worker or the reaper",
    ("running", "expired"): "deadline passed",
    ("running", "waiting"): "park",
    ("running", "queued"): "worker lost or interrupted, or proved harmless alone",
    ("waiting", "queued"): "what it waited for is there",
    ("waiting", "failed"): "what it waited for can't come",
    ("waiting", "cancelled"): "cancel",
    ("waiting", "expired"): "deadline passed",
    ("failed", "queued"): "retry, as a new run",
    ("expired", "queued"): "retry, as a new run",
}

# What the API shows: a dispatch is the platform's own business.
SHOWN: Final = {state: state for state in STATES} | {"dispatched": "queued"}


def sql_list(names: Iterable[str]) -> str:
    """Names as a list of SQL literals, for CHECK constraints."""
    return ", ".join(f"'{name}'" for name in names)


def legal(old: str, new: str) -> bool:
    """Whether a job may go from one state to another."""
    return (old, new) in MOVES
