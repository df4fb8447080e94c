"""When schedules fire: clocks that change, jitter, and what was missed."""

import itertools
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.core import ids
from app.core.errors import Invalid
from app.schedules import timing
from app.schedules.timing import Due, Rule

MINUTE = timedelta(minutes=1)
NOW = datetime(2026, 11, 25, 12, 0, 30, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")
ZONES = st.sampled_from(sorted(timing.zones() - {"Factory"}))
DAYS = st.dates(date(1980, 1, 1), date(2037, 1, 1))
HOURS = st.integers(0, 23)
MINUTES = st.integers(0, 59)


def firings(cron: str, zone: str, after: datetime, until: datetime) -> list[datetime]:
    times = timing.upcoming(Rule(cron, zone), after)
    return list(itertools.takewhile(lambda moment: moment <= until, times))


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def first_of(wall: datetime) -> datetime:
    """The first moment at which clocks show this local time, or have passed over it."""
    while wall.astimezone(UTC).astimezone(wall.tzinfo).replace(fold=0) != wall:
        wall += MINUTE
    return wall.astimezone(UTC)


def test_c113_half_past_two_fires_once_on_the_days_of_23_and_of_25_hours() -> None:
    days = {}
    for day in (date(2026, 3, 29), date(2026, 10, 25)):
        start = datetime(day.year, day.month, day.day, tzinfo=BERLIN)
        end = start + timedelta(days=1, seconds=-1)
        days[day.month] = [
            moment.astimezone(BERLIN).isoformat()
            for moment in firings("30 2 * * *", "Europe/Berlin", start, end)
        ]
    assert days == {3: ["2026-03-29T03:00:00+02:00"], 10: ["2026-10-25T02:30:00+02:00"]}


@given(ZONES, DAYS, HOURS, MINUTES)
@example("Pacific/Apia", date(2011, 12, 28), 0, 0)  # a whole day is left out
@example("Australia/Lord_Howe", date(2026, 4, 3), 1, 45)  # half an hour comes twice
@example("Africa/Casablanca", date(2026, 2, 13), 2, 30)
@example("America/Santiago", date(2026, 9, 4), 0, 0)  # the gap is at midnight
def test_a_time_of_day_fires_once_a_day_whatever_the_clock_does(
    zone: str, day: date, hour: int, minute: int
) -> None:
    after, until = midnight(day), midnight(day + timedelta(days=4))
    wanted = set()
    for offset in range(-2, 7):
        local = day + timedelta(days=offset)
        wall = datetime(local.year, local.month, local.day, hour, minute, tzinfo=ZoneInfo(zone))
        wanted.add(first_of(wall))
    found = firings(f"{minute} {hour} * * *", zone, after, until)
    assert found == sorted(moment for moment in wanted if after < moment <= until)


@settings(max_examples=25)
@given(ZONES, DAYS, MINUTES, st.sampled_from(["{} * * * *", "*/20 * * * *", "{} */3 * * *"]))
def test_an_interval_follows_the_time_that_passes(
    zone: str, day: date, minute: int, form: str
) -> None:
    cron = form.format(minute)
    minutes = {0, 20, 40} if cron.startswith("*") else {minute}
    hours = set(range(0, 24, 3 if "/3" in cron else 1))
    after = midnight(day)
    wanted = []
    for passed in range(1, 2 * 24 * 60):
        local = (after + passed * MINUTE).astimezone(ZoneInfo(zone))
        if local.minute in minutes and local.hour in hours and local.second == 0:
            wanted.append(after + passed * MINUTE)
    assert firings(cron, zone, after, after + timedelta(days=2, minutes=-1)) == wanted


@given(ZONES, DAYS, st.integers(0, 86_399), HOURS, MINUTES)
def test_from_any_moment_on_times_go_forward_only(
    zone: str, day: date, second: int, hour: int, minute: int
) -> None:
    after = midnight(day) + timedelta(seconds=second)
    times = list(itertools.islice(timing.upcoming(Rule(f"{minute} {hour} * * *", zone), after), 4))
    assert all(a < b for a, b in itertools.pairwise([after, *times]))


@given(st.text(alphabet="0123456789*/,-#LW MONabc?", max_size=30))
def test_what_can_not_be_read_is_refused_with_a_pointer(text: str) -> None:
    pointers = ["/cron"]
    try:
        timing.check(Rule(text, "UTC"), NOW, MINUTE)
    except Invalid as fault:
        pointers = [one["pointer"] for one in fault.context["errors"]]
    assert pointers == ["/cron"]


@pytest.mark.parametrize(
    ("rule", "pointer"),
    [
        (Rule("* * * * * *", "UTC"), "/cron"),
        (Rule("@daily", "UTC"), "/cron"),
        (Rule("0 0 30 2 *", "UTC"), "/cron"),
        (Rule("60 * * * *", "UTC"), "/cron"),
        (Rule("0 0 * * *", "Europe/Atlantis"), "/time_zone"),
        (Rule("0 0 * * *", "../etc/passwd"), "/time_zone"),
        (Rule("0 0 * * *", "UTC", 3_601), "/jitter_seconds"),
        (Rule("*/10 * * * *", "UTC", 600), "/jitter_seconds"),
    ],
)
def test_rules_that_are_none(rule: Rule, pointer: str) -> None:
    with pytest.raises(Invalid) as refused:
        timing.check(rule, NOW, MINUTE)
    assert refused.value.context["errors"][0]["pointer"] == pointer


def test_a_rule_may_not_fire_more_often_than_is_allowed() -> None:
    period = timedelta(minutes=5)
    timing.check(Rule("*/5 * * * *", "UTC"), NOW, period)
    for cron in ("*/4 * * * *", "0,1 0 1 * *", "0,59 0,23 * * *"):
        with pytest.raises(Invalid, match="more often"):
            timing.check(Rule(cron, "UTC"), NOW, period)


@given(st.integers(0, 3_600), st.integers(0, 1_000_000))
def test_jitter_is_the_same_for_the_same_time_and_within_its_bound(
    seconds: int, minutes: int
) -> None:
    schedule, moment = ids.new(), NOW + minutes * MINUTE
    rule = Rule("0 * * * *", "UTC", seconds)
    shifted = timing.shifted(rule, schedule, moment)
    assert shifted == timing.shifted(rule, schedule, moment)
    assert moment <= shifted <= moment + timedelta(seconds=seconds)


def test_jitter_spreads_schedules() -> None:
    rule = Rule("0 * * * *", "UTC", 599)
    shifts = {timing.shifted(rule, ids.new(), NOW) for _ in range(100)}
    assert len(shifts) > 80


def plan(due: datetime, missed: timing.Missed, cron: str = "0 * * * *") -> timing.Plan:
    return timing.plan(
        Rule(cron, "UTC"), ids.new(), due, NOW, missed=missed, late=timedelta(minutes=1)
    )


@pytest.mark.parametrize("missed", ["skip", "run_once", "run_all"])
def test_what_is_on_time_is_run_whatever_the_policy(missed: timing.Missed) -> None:
    due = NOW.replace(second=0)
    found = plan(due, missed)
    assert (found.run, found.given_up) == ([Due(due)], None)
    assert found.next_at == due + timedelta(hours=1)


def test_missed_times_are_skipped_run_once_or_all_run() -> None:
    hours = [NOW.replace(second=0) - timedelta(hours=n) for n in (3, 2, 1, 0)]
    skipping = plan(hours[0], "skip")
    assert (skipping.run, skipping.given_up) == ([Due(hours[3])], Due(hours[2], 3))
    once = plan(hours[0], "run_once")
    assert (once.run, once.given_up) == ([Due(hours[3], 3)], None)
    everyone = plan(hours[0], "run_all")
    assert (everyone.run, everyone.given_up) == ([Due(hour) for hour in hours], None)


def test_a_long_outage_is_caught_up_on_within_bounds() -> None:
    long_ago = NOW.replace(second=0) - timedelta(days=400)
    found = plan(long_ago, "run_all", "* * * * *")
    assert [due.at for due in found.run] == [
        NOW.replace(second=0) - n * MINUTE for n in reversed(range(timing.CATCH_UP))
    ]
    assert found.given_up is not None
    assert found.given_up.missed == 7 * 24 * 60 + 1 - timing.CATCH_UP
    yearly = plan(datetime(2026, 1, 1, tzinfo=UTC), "run_once", "0 0 1 1 *")
    assert yearly.run == [Due(datetime(2026, 1, 1, tzinfo=UTC))]
