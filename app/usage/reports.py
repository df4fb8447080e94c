"""Reports: exact sums of usage by time, tenant, workflow, model, provider, lane, key and tag.

What is metered is in the next report: sums, and the lines not yet in them, are read in one snapshot.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, Final
from uuid import UUID

import psycopg
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import ids, statements
from app.core.errors import Invalid
from app.core.ids import TenantId
from app.usage.rollups import QUARTER

TIMES: Final = ("hour", "day", "month")
NAMES: Final = ("tenant", "workflow", "model", "provider", "lane", "key", "tag")
GROUPS: Final = (*TIMES, *NAMES)
MOST: Final = 10_000  # rows; more is no report: narrow it, or cut it coarser

_REPORT: Final = statements.load(__file__, "report")
_NO_KEY: Final = UUID(int=0)
_EPOCH: Final = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


@dataclass(frozen=True, slots=True)
class Row:
    """One group: what it is cut by, in the order asked for, and its sums.

    Cached and cache_write tokens are within the input, reasoning within the output. `unconfirmed` is
    the part of the cost that was booked at a hold, since what the call really cost isn't known.
    """

    keys: dict[str, str]
    calls: int
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost_nanousd: int
    unconfirmed_nanousd: int


async def usage(
    session: AsyncSession,
    tenant: TenantId | None,
    *,
    group_by: Sequence[str],
    since: datetime,
    until: datetime,
    zone: str = "UTC",
    workflow: str | None = None,
    model: str | None = None,
) -> list[Row]:
    """Usage of a tenant, or of all (None), from `since` up to and without `until`, by any of GROUPS.

    Hours, days and months are those of `zone`; an hour carries its offset, so that the one that a clock
    change repeats is told apart. Without groups one row, or none where nothing was used. By tag, a call
    is in the row of each of its tags, so that the rows may sum to more than was used, and one without
    any is under "": that reads every line of the range. Raises Invalid.
    """
    times = [name for name in group_by if name in TIMES]
    if unknown := [name for name in group_by if name not in GROUPS]:
        raise Invalid.at("/group_by", f"{unknown[0]} is none of {', '.join(GROUPS)}.")
    if len(times) > 1 or len(set(group_by)) < len(group_by):
        raise Invalid.at("/group_by", "Each at most once, and one of hour, day and month.")
    if since >= until:
        raise Invalid.at("/until", "It must be after since.")
    await _check_zone(session, zone)
    begin, end, edges = (
        (since, since, [(since, until)]) if "tag" in group_by else _parts(since, until)
    )
    bind = {
        "tenant": tenant, "since": begin, "until": end, "workflow": workflow, "model": model,
        "starts": [one for one, _ in edges], "ends": [other for _, other in edges],
        "unit": times[0] if times else None, "zone": zone, "most": MOST + 1,
        **{f"by_{name}": name in group_by for name in NAMES},
    }  # fmt: skip
    found = (await session.execute(_REPORT.text, bind)).all()
    if len(found) > MOST:
        raise Invalid.at(
            "/group_by", f"More than {MOST} rows: narrow the range, or cut it coarser."
        )
    return [_row(one, group_by) for one in found]


async def _check_zone(session: AsyncSession, zone: str) -> None:
    """The database cuts the days: a zone is what it knows as one. A report of no rows would not ask it."""
    try:
        await session.execute(select(func.timezone(zone, func.app_now())))
    except DBAPIError as error:
        if isinstance(error.orig, psycopg.errors.InvalidParameterValue):
            raise Invalid.at("/time_zone", "Not a time zone.") from None
        raise


def _parts(
    since: datetime, until: datetime
) -> tuple[datetime, datetime, list[tuple[datetime, datetime]]]:
    """The whole quarters within a range, and what is left of it at both ends."""
    begin = since + (_EPOCH - since) % QUARTER
    end = until - (until - _EPOCH) % QUARTER
    if begin >= end:
        return begin, begin, [(since, until)]
    edges = [(since, begin), (end, until)]
    return begin, end, [(one, other) for one, other in edges if one < other]


def _row(found: Any, group_by: Sequence[str]) -> Row:
    return Row(
        {name: _key(found, name) for name in group_by},
        found.calls, found.input_tokens, found.cached_tokens, found.cache_write_tokens,
        found.output_tokens, found.reasoning_tokens, found.cost_nanousd, found.unconfirmed_nanousd,
    )  # fmt: skip


def _key(found: Any, name: str) -> str:
    match name:
        case "hour":
            return str(found.period.astimezone(_offset(found)).isoformat())
        case "day":
            return str(found.local.date())
        case "month":
            return f"{found.local:%Y-%m}"
        case "tenant":
            return ids.wire("ten", found.tenant)
        case "key":
            return "" if found.key == _NO_KEY else ids.wire("key", found.key)
        case _:
            return str(getattr(found, name))


def _offset(found: Any) -> timezone:
    away: timedelta = found.local - found.period.astimezone(UTC).replace(tzinfo=None)
    return timezone(away)
