"""Draws the tables of docs/scale.md: what so many jobs a day need, from what one was measured to need."""

import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SCALE: Final = Path(__file__).parent.parent / "docs" / "scale.md"
_PART: Final = re.compile(r"(<!-- drawn: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)

PEAK: Final = 3  # the busiest hour, as a multiple of the day's mean
CALL_SECONDS: Final = 2.0  # a job with one model call holds a slot so long
SLOTS: Final = 200  # of a worker process (TOWPATH_EXECUTION__SLOTS)
FULL: Final = 0.7  # of a core that one process may use in the busiest hour
DAYS: Final = 90  # that history stays (TOWPATH_RETENTION__HISTORY)
PURGE_PART: Final = 0.2  # TOWPATH_RETENTION__PART
DAY_SECONDS: Final = 86_400
LEVELS: Final = (1_000_000, 10_000_000, 100_000_000)


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a job with one short model call costs: `scripts/bench footprint --json`, fields `ask_…`."""

    api_ms: float = 0.65  # admitted one by one; in bulk half of it
    control_ms: float = 1.19
    worker_ms: float = 3.63
    postgres_ms: float = 1.89
    wal_bytes: int = 14_393
    bytes: int = 6_680
    # Of these, what is never deleted: usage, ledger, hold, audit, and the bare job with its attempt.
    kept_bytes: int = 4_392
    # `scripts/bench purge --json`: jobs a second at its part of the time.
    purged_per_second: float = 346.0
    # At most: the pool, the groups, the listener. Control has one for each lock and one for each loop.
    connections_api: int = 13
    connections_worker: int = 8
    connections_control: int = 34


ONE: Final = Footprint()


def demand() -> str:
    """A row a need, a column a level."""
    rows: list[tuple[str, Callable[[int], str]]] = [
        ("jobs a second, mean and busiest hour", lambda jobs: f"{_rate(jobs):,.0f} and {_peak(jobs):,.0f}"),
        ("cores of the API, busiest hour", lambda jobs: _cores(jobs, ONE.api_ms)),
        ("cores of control", lambda jobs: _cores(jobs, ONE.control_ms)),
        ("cores of the workers", lambda jobs: _cores(jobs, ONE.worker_ms)),
        ("cores of Postgres", lambda jobs: _cores(jobs, ONE.postgres_ms)),
        ("API processes", lambda jobs: f"{_processes(jobs, ONE.api_ms)}"),
        ("control processes", lambda jobs: f"{_processes(jobs, ONE.control_ms)}"),
        ("jobs that run at once", lambda jobs: f"{_peak(jobs) * CALL_SECONDS:,.0f}"),
        ("worker processes", lambda jobs: f"{_workers(jobs)}"),
        ("connections to Postgres", lambda jobs: f"{_connections(jobs):,}"),
        ("WAL a second, mean and busiest hour", lambda jobs: f"{_wal(_rate(jobs))} and {_wal(_peak(jobs))}"),
        ("disk of what is kept 90 days", lambda jobs: _disk(jobs * DAYS * (ONE.bytes - ONE.kept_bytes))),
        ("disk that a year adds for good", lambda jobs: _disk(jobs * 365 * ONE.kept_bytes)),
        ("part of the time that the purge needs", lambda jobs: f"{_purge(jobs):.0%}"),
    ]  # fmt: skip
    lines = ["| need | " + " | ".join(f"{jobs:,} a day" for jobs in LEVELS) + " |"]
    lines.append("| --- |" + " ---: |" * len(LEVELS))
    lines += [f"| {name} | " + " | ".join(map(of, LEVELS)) + " |" for name, of in rows]
    return "\n".join(lines)


def _rate(jobs: int) -> float:
    return jobs / DAY_SECONDS


def _peak(jobs: int) -> float:
    return PEAK * _rate(jobs)


def _cores(jobs: int, ms: float) -> str:
    return f"{_peak(jobs) * ms / 1000:.2g}"


def _processes(jobs: int, ms: float) -> int:
    return max(1, math.ceil(_peak(jobs) * ms / 1000 / FULL))


def _workers(jobs: int) -> int:
    """By CPU or by slots, whichever asks for more."""
    return max(_processes(jobs, ONE.worker_ms), math.ceil(_peak(jobs) * CALL_SECONDS / SLOTS))


def _connections(jobs: int) -> int:
    return (
        _processes(jobs, ONE.api_ms) * ONE.connections_api
        + _processes(jobs, ONE.control_ms) * ONE.connections_control
        + _workers(jobs) * ONE.connections_worker
    )


def _wal(rate: float) -> str:
    return f"{rate * ONE.wal_bytes / 1e6:.2g} MB"


def _disk(count: int) -> str:
    return f"{count / 1e12:.2g} TB"


def _purge(jobs: int) -> float:
    return PURGE_PART * _rate(jobs) / ONE.purged_per_second


DRAWN: Final[dict[str, Callable[[], str]]] = {"demand": demand}


def redrawn(text: str) -> str:
    """The document with its drawn parts as the figures have them now."""
    return _PART.sub(lambda found: f"{found[1]}{DRAWN[found[2]]()}\n{found[3]}", text)


def main() -> int:
    """Write the drawn parts."""
    SCALE.write_text(redrawn(SCALE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
