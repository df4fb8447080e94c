"""When a schedule fires: a cron expression in a time zone, its jitter, and what becomes of missed times. Pure.

Daylight saving is Debian's cron's, which `cronsim` follows: a time of day that doesn't exist fires once, right
after the gap; one that comes twice fires at the first. Where the minute or the hour field begins with `*`, the
expression means an interval and follows the time that really passes: through a gap, and in both hours.
"""

import hashlib
import itertools
import zoneinfo
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from app.core import clock
from app.core.errors import Invalid

FIELDS: Final = 5  # cronsim knows a sixth, for seconds
CRON_CHARS: Final = 200
MAX_JITTER_SECONDS: Final = 3_600
CATCH_UP: Final = 24  # the latest missed times that `run_all` runs
LOOK_BACK: Final = timedelta(days=7)  # missed times before that are not counted
_SEEN: Final = (
    300  # times that tell how close two can be: a day has all gaps of one that fires often
)

Missed = Literal["skip", "run_once", "run_all"]


@dataclass(frozen=True, slots=True)
class Rule:
    """When: five cron fields, read in an IANA time zone."""

    cron: str
    time_zone: str
    jitter_seconds: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """A time to run, and how many missed ones before it are not run."""

    at: datetime
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What follows from a look at the clock: what to run, what was given up, and when to look again."""

    run: list[Due]
    given_up: Due | None
    next_at: datetime | None


@cache
def zones() -> frozenset[str]:
    """The names of time zones known here."""
    return frozenset(zoneinfo.available_timezones() - {"localtime"})


def check(rule: Rule, now: datetime, min_period: timedelta) -> None:
    """Raises Invalid where the rule can't be read, never fires, or fires too often."""
    if rule.time_zone not in zones():
        raise Invalid.at("/time_zone", "is not a time zone of the IANA database")
    if len(rule.cron) > CRON_CHARS or len(rule.cron.split()) != FIELDS or not rule.cron.isascii():
        raise Invalid.at("/cron", "five fields: minute, hour, day of month, month, day of week")
    try:
        times = list(itertools.islice(upcoming(rule, now), _SEEN))
    except CronSimError as fault:
        raise Invalid.at("/cron", str(fault)) from fault
    if not times:
        raise Invalid.at("/cron", "never comes true")
    shortest = min((b - a for a, b in itertools.pairwise(times)), default=timedelta.max)
    if shortest < min_period:
        least = int(min_period.total_seconds())
        raise Invalid.at("/cron", f"fires more often than every {least} seconds")
    if (
        rule.jitter_seconds > MAX_JITTER_SECONDS
        or timedelta(seconds=rule.jitter_seconds) >= shortest
    ):
        limit = min(MAX_JITTER_SECONDS, int(shortest.total_seconds()) - 1)
        raise Invalid.at("/jitter_seconds", f"at most {limit}: less than between two times")


def upcoming(rule: Rule, after: datetime) -> Iterator[datetime]:
    """The times after a moment, without jitter, in UTC. Ends where 50 years bring none."""
    last = after
    for found in CronSim(rule.cron, after.astimezone(ZoneInfo(rule.time_zone))):
        moment = found.astimezone(UTC)
        # In the second of two equal hours cronsim still finds the first one's times: they are over.
        if moment > last:
            last = moment
            yield moment


def shifted(rule: Rule, schedule: UUID, due: datetime) -> datetime:
    """A due time with its jitter: the same for the same schedule and time."""
    if not rule.jitter_seconds:
        return due
    seed = hashlib.sha256(schedule.bytes + clock.wire(due).encode()).digest()
    return due + timedelta(seconds=int.from_bytes(seed[:8], "big") % (rule.jitter_seconds + 1))


def plan(
    rule: Rule, schedule: UUID, due: datetime, now: datetime, *, missed: Missed, late: timedelta
) -> Plan:
    """What to do about the due time and all that came after it until now."""
    times, next_at = [due], None
    for moment in upcoming(rule, max(due, now - LOOK_BACK)):
        if shifted(rule, schedule, moment) > now:
            next_at = moment
            break
        times.append(moment)
    gone = [moment for moment in times if now - shifted(rule, schedule, moment) > late]
    match missed:
        case "run_once" if gone:
            return Plan([Due(times[-1], len(times) - 1)], None, next_at)
        case "skip":
            run, given_up = times[len(gone) :], gone
        case "run_all":
            run, given_up = times[-CATCH_UP:], times[:-CATCH_UP]
        case _:
            run, given_up = times, []
    last = Due(given_up[-1], len(given_up)) if given_up else None
    return Plan([Due(moment) for moment in run], last, next_at)
