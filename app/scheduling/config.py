"""Settings of release."""

from datetime import timedelta
from typing import Annotated, Final

from pydantic import BaseModel, Field, PositiveInt

from app.jobs.states import QUARANTINE

MAX_SHARDS: Final = 64


class SchedulingConfig(BaseModel, frozen=True, extra="forbid"):
    """How jobs leave the queue."""

    batch: PositiveInt = 100  # jobs a pass: 100 take 3-5 ms (docs/blueprint.md)
    fallback: timedelta = timedelta(seconds=1)  # a lost NOTIFY costs at most this
    half_life: timedelta = timedelta(seconds=60)  # how fast fairness forgets what was released
    worker_silence: timedelta = timedelta(seconds=3)  # after which a worker's slots don't count
    lanes: dict[str, PositiveInt] = {
        "interactive": 5,
        "standard": 3,
        "batch": 2,
    }  # shares where all are busy
    # Attempts a message carries at most, where a lane trades a little of its latency for throughput.
    grouped: dict[str, PositiveInt] = {"batch": 64}
    # Of the slots that lanes share, never lent beyond a lane's own: who comes back finds them free at once.
    reserve: Annotated[float, Field(ge=0, lt=1)] = 0.1

    @property
    def shares(self) -> dict[str, int]:
        """The lanes that jobs are released to. Quarantine shares no worker with another, so its share is no one's."""
        return self.lanes | {QUARANTINE: 1}
