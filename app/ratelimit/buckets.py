"""A token bucket: how full it is, what a request draws from it, and the buckets that one process holds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

HELD: Final = 10_000  # buckets of a process; the one that was touched longest ago goes first

# take.lua has the same arithmetic, and places besides; tests/ratelimit holds the two against each other.


@dataclass(frozen=True, slots=True)
class Draw:
    """What one request draws from one bucket."""

    key: str
    name: str  # of the limit
    unit: str
    per_minute: int
    burst: int
    cost: int
    when_lost: str = "hold"


@dataclass(frozen=True, slots=True)
class Standing:
    """A bucket after a request: what is left in it, and when it is full again."""

    name: str
    unit: str
    per_minute: int
    burst: int
    remaining: int
    reset_seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may go on; if not, when it may, and which limit it was."""

    allowed: bool
    wait_seconds: float
    limit: str | None
    standings: tuple[Standing, ...]


class Local:
    """Buckets of one process: what holds where the shared ones are out of reach."""

    def __init__(self) -> None:
        self._held: dict[str, tuple[float, float]] = {}  # used, at which second

    def take(self, draws: Sequence[Draw], now: float, *, look: bool = False) -> Verdict:
        """Draw from all of them, or from none; a look draws nothing."""
        used = [self._used(draw, now) for draw in draws]
        waits = [wait(draw, level) for draw, level in zip(draws, used, strict=True)]
        longest = max(waits)
        if longest > 0:
            limit = draws[waits.index(longest)].name
            return Verdict(False, longest, limit, tuple(map(standing, draws, used)))
        if not look:
            used = [level + draw.cost for draw, level in zip(draws, used, strict=True)]
            for draw, level in zip(draws, used, strict=True):
                self._keep(draw.key, level, now)
        return Verdict(True, 0.0, None, tuple(map(standing, draws, used)))

    def refund(self, draws: Sequence[Draw], now: float) -> None:
        """Give back what was drawn; below zero it is drawn after the fact."""
        for draw in draws:
            self._keep(draw.key, max(0.0, self._used(draw, now) - draw.cost), now)

    def _used(self, draw: Draw, now: float) -> float:
        level, at = self._held.get(draw.key, (0.0, now))
        return max(0.0, level - (now - at) * draw.per_minute / 60)

    def _keep(self, key: str, level: float, now: float) -> None:
        self._held.pop(key, None)
        self._held[key] = (level, now)
        if len(self._held) > HELD:
            del self._held[next(iter(self._held))]


def wait(draw: Draw, used: float) -> float:
    """Seconds until a bucket of which this much is used has room. A cost above the burst wants it full."""
    return (used + min(draw.cost, draw.burst) - draw.burst) * 60 / draw.per_minute


def standing(draw: Draw, used: float) -> Standing:
    """A bucket of which this much is used."""
    return Standing(
        draw.name, draw.unit, draw.per_minute, draw.burst,
        max(0, int(draw.burst - used)), used * 60 / draw.per_minute,
    )  # fmt: skip
