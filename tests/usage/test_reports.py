"""Sums of usage: exact, whatever is rolled up already, in every time zone."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import psycopg
import pytest

from app.core import ids
from app.core.db import Database
from app.core.errors import Invalid
from app.core.ids import TenantId
from app.usage import reports, rollups
from app.usage.pricing import Tokens
from app.usage.reports import Row
from tests.arrange import make_tenant
from tests.usage import metered
from tests.usage.metered import DOLLAR, Metered


@pytest.fixture
async def meter(
    db: Database, admin: psycopg.Connection, tenant: TenantId
) -> AsyncIterator[Metered]:
    made = await metered.metering(db, admin, tenant)
    yield made
    await made.connection.close()


async def report(
    db: Database, tenant: TenantId | None, since: str, until: str, *group_by: str, **narrow: Any
) -> list[Row]:
    async with db.transaction() as session:
        return await reports.usage(
            session, tenant, group_by=group_by, since=datetime.fromisoformat(since),
            until=datetime.fromisoformat(until), **narrow,
        )  # fmt: skip


def dollars(rows: list[Row], name: str) -> dict[str, float]:
    return {row.keys[name]: row.cost_nanousd / DOLLAR for row in rows}


async def test_what_is_pending_and_what_is_rolled_up_add_up(
    db: Database, meter: Metered, tenant: TenantId
) -> None:
    """C075: the report is exact before, between and after rollups, which may run twice."""
    for minute in range(10):
        await meter.line(f"2026-05-10T20:0{minute}:00Z", DOLLAR + minute)
    whole = [Row({}, 10, 100, 0, 0, 10, 0, 10 * DOLLAR + 45, 0)]
    day = ("2026-05-10T00:00Z", "2026-05-11T00:00Z")
    assert await report(db, tenant, *day) == whole
    assert await rollups.roll(db, 4) == 4
    assert await report(db, tenant, *day) == whole
    assert await rollups.roll(db) == 6
    assert await rollups.roll(db) == 0
    assert await report(db, tenant, *day) == whole
    await meter.line("2026-05-10T20:01:00Z", 1)
    assert (await report(db, tenant, *day))[0].cost_nanousd == 10 * DOLLAR + 46


async def test_every_kind_of_token_is_summed(
    db: Database, meter: Metered, tenant: TenantId
) -> None:
    counts = Tokens(input=100, cached=30, cache_write=20, output=50, reasoning=40)
    for _ in range(2):
        await meter.line("2026-05-10T20:00:00Z", 1, tokens=counts)
    await rollups.roll(db, 1)
    rows = await report(db, tenant, "2026-05-10T00:00Z", "2026-05-11T00:00Z")
    assert rows == [Row({}, 2, 200, 60, 40, 100, 80, 2, 0)]


@pytest.mark.parametrize(
    ("zone", "days"),
    [
        ("Asia/Kolkata", {"2026-05-11": 3.0, "2026-05-12": 4.0}),
        ("America/Los_Angeles", {"2026-05-10": 1.0, "2026-05-11": 6.0}),
        ("UTC", {"2026-05-10": 1.0, "2026-05-11": 6.0}),
    ],
)
@pytest.mark.parametrize("rolled", [True, False])
async def test_days_are_cut_in_the_zone_asked_for(
    db: Database, meter: Metered, tenant: TenantId, zone: str, days: dict[str, float], rolled: bool
) -> None:
    """C111"""
    for at, cost in (("2026-05-10T20:00Z", 1), ("2026-05-11T10:00Z", 2), ("2026-05-11T20:00Z", 4)):
        await meter.line(at, cost * DOLLAR)
    if rolled:
        await rollups.roll(db)
    range_ = ("2026-05-09T12:00Z", "2026-05-13T12:00Z")
    assert dollars(await report(db, tenant, *range_, "day", zone=zone), "day") == days
    (whole,) = await report(db, tenant, *range_, zone=zone)
    assert whole.cost_nanousd == 7 * DOLLAR == round(sum(days.values()) * DOLLAR)


async def test_a_clock_change_makes_days_of_23_and_25_hours(
    db: Database, meter: Metered, tenant: TenantId
) -> None:
    """C113"""
    for day in ("2026-03-28", "2026-03-29", "2026-10-24", "2026-10-25"):
        for hour in range(24):
            await meter.line(f"{day}T{hour:02}:30Z", DOLLAR)
    await rollups.roll(db, 50)
    spring = ("2026-03-28T23:00Z", "2026-03-29T22:00Z")
    autumn = ("2026-10-24T22:00Z", "2026-10-25T23:00Z")
    zone = "Europe/Berlin"
    assert dollars(await report(db, tenant, *spring, "day", zone=zone), "day") == {
        "2026-03-29": 23.0
    }
    assert dollars(await report(db, tenant, *autumn, "day", zone=zone), "day") == {
        "2026-10-25": 25.0
    }
    hours = [row.keys["hour"] for row in await report(db, tenant, *autumn, "hour", zone=zone)]
    assert len(hours) == 25
    assert hours[2:4] == ["2026-10-25T02:00:00+02:00", "2026-10-25T02:00:00+01:00"]


async def test_a_range_that_cuts_a_quarter_is_exact(
    db: Database, meter: Metered, tenant: TenantId, admin: psycopg.Connection
) -> None:
    other = metered.of(meter, admin, make_tenant(admin, "other"))
    for second in ("10:07:29", "10:07:30", "10:29:59", "10:30:00", "10:52:59", "10:53:00"):
        await meter.line(f"2026-05-10T{second}Z", 1)
        await other.line(f"2026-05-10T{second}Z", 100)
    await rollups.roll(db, 6)
    rows = await report(db, tenant, "2026-05-10T10:07:30Z", "2026-05-10T10:53:00Z")
    assert [row.calls for row in rows] == [4]
    rows = await report(db, tenant, "2026-05-10T10:07:30Z", "2026-05-10T10:08:00Z")
    assert [row.calls for row in rows] == [1]
    everybody = await report(db, None, "2026-05-10T10:07:30Z", "2026-05-10T10:53:00Z", "tenant")
    assert sorted(row.cost_nanousd for row in everybody) == [4, 400]


async def test_a_correction_is_no_call_and_makes_its_cost_certain(
    db: Database, meter: Metered, tenant: TenantId
) -> None:
    """C070"""
    nothing = Tokens(input=0, output=0)
    call = await meter.line("2026-05-10T20:00Z", 1_000, unconfirmed=True, tokens=nothing)
    await meter.line("2026-05-10T20:00Z", 500, unconfirmed=True, tokens=nothing)
    day = ("2026-05-10T00:00Z", "2026-05-11T00:00Z")
    (before,) = await report(db, tenant, *day)
    assert (before.calls, before.cost_nanousd, before.unconfirmed_nanousd) == (2, 1_500, 1_500)
    await rollups.roll(db)
    await meter.line("2026-05-10T20:00Z", -300, call=call, kind="correction")
    (pending,) = await report(db, tenant, *day)
    await rollups.roll(db)
    (rolled,) = await report(db, tenant, *day)
    assert pending == rolled == Row({}, 2, 10, 0, 0, 1, 0, 1_200, 500)


async def test_usage_is_cut_by_any_of_its_labels(
    db: Database, meter: Metered, tenant: TenantId, admin: psycopg.Connection
) -> None:
    other = make_tenant(admin, "other")
    await metered.of(meter, admin, other).line("2026-06-01T00:00Z", 100)
    await meter.line("2026-05-31T23:59Z", 1, workflow="answer", lane="batch")
    await meter.line("2026-06-01T00:00Z", 2, workflow="answer", model="fake-2")
    await meter.line("2026-06-01T00:00Z", 4, workflow="summarize", provider="other")
    range_ = ("2026-05-01T00:00Z", "2026-07-01T00:00Z")

    async def cut(*group_by: str, whose: TenantId | None = tenant, **narrow: str) -> dict[Any, int]:
        rows = await report(db, whose, *range_, *group_by, **narrow)
        return {tuple(row.keys.values()): row.cost_nanousd for row in rows}

    assert await cut("month") == {("2026-05",): 1, ("2026-06",): 6}
    assert await cut("workflow") == {("answer",): 3, ("summarize",): 4}
    assert await cut("model", "provider") == {
        ("fake-1", "fake"): 1, ("fake-2", "fake"): 2, ("fake-1", "other"): 4,
    }  # fmt: skip
    assert await cut("lane") == {("batch",): 1, ("standard",): 6}
    assert await cut("lane", "workflow", workflow="answer", model="fake-1") == {
        ("batch", "answer"): 1
    }
    assert await cut("tenant", whose=None) == {
        (ids.wire("ten", tenant),): 7, (ids.wire("ten", other),): 100,
    }  # fmt: skip
    assert await cut(workflow="nothing") == {}


@pytest.mark.parametrize(
    ("group_by", "zone", "pointer"),
    [(["colour"], "UTC", "/group_by"), (["day", "hour"], "UTC", "/group_by"),
     (["model", "model"], "UTC", "/group_by"), (["day"], "Mars/Olympus", "/time_zone")],
)  # fmt: skip
async def test_what_cannot_be_cut_is_refused_by_name(
    db: Database, tenant: TenantId, group_by: list[str], zone: str, pointer: str
) -> None:
    with pytest.raises(Invalid) as caught:
        await report(db, tenant, "2026-05-01T00:00Z", "2026-07-01T00:00Z", *group_by, zone=zone)
    assert caught.value.context["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("rolled", [True, False])
async def test_usage_is_cut_by_the_key_that_asked(
    db: Database, meter: Metered, admin: psycopg.Connection, tenant: TenantId, rolled: bool
) -> None:
    key = ids.new()
    admin.execute(
        "INSERT INTO api_key (id, tenant, name, prefix, digest, scopes, created_at)"
        " VALUES (%s, %s, 'k', '', '', '{}', now())",
        (key, tenant),
    )
    for cost in (1, 2):
        await meter.line("2026-05-10T20:00:00Z", cost * DOLLAR, key=str(key))
    await meter.line("2026-05-10T20:00:00Z", 4 * DOLLAR)
    if rolled:
        await rollups.roll(db)
    rows = await report(db, tenant, "2026-05-10T00:00Z", "2026-05-11T00:00Z", "key")
    assert dollars(rows, "key") == {"": 4.0, ids.wire("key", key): 3.0}


@pytest.mark.parametrize("rolled", [True, False])
async def test_by_tag_a_call_is_under_each_of_its_tags(
    db: Database, meter: Metered, tenant: TenantId, rolled: bool
) -> None:
    at = "2026-05-10T20:00:00Z"
    await meter.line(at, DOLLAR, tags=["a", "b"])
    await meter.line(at, 2 * DOLLAR, tags=["b"], workflow="other")
    await meter.line(at, 4 * DOLLAR)
    if rolled:
        await rollups.roll(db)
    day = ("2026-05-10T00:00Z", "2026-05-11T00:00Z")
    assert dollars(await report(db, tenant, *day, "tag"), "tag") == {"": 4.0, "a": 1.0, "b": 3.0}
    both = await report(db, tenant, *day, "tag", "workflow", workflow="other")
    assert [row.keys for row in both] == [{"tag": "b", "workflow": "other"}]
    (whole,) = await report(db, tenant, *day)
    assert (whole.calls, whole.cost_nanousd) == (3, 7 * DOLLAR)
