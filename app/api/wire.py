"""Forms on the wire: moments, money, ids, pages, and the answer that carries them."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Generic, TypeVar
from uuid import UUID

from fastapi import Path, Query, Response
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from app.core import clock, ids, lists, money
from app.core.errors import Invalid, NotFound

Item = TypeVar("Item")

_DECIMAL: Final = re.compile(r"(0|[1-9][0-9]{0,9})(\.[0-9]{1,9})?")
_FIRST_YEAR: Final = 1970
_LAST_YEAR: Final = 9998
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MOMENT_SCHEMA: Final = {"type": "string", "format": "date-time"}
_RATE: Final = re.compile(r"(0|[1-9][0-9]{0,9})(\.[0-9]{1,6})?")
_RATE_SCHEMA: Final = {"type": "string", "pattern": f"^{_RATE.pattern}$"}
_MONEY_SCHEMA: Final = {"type": "string", "pattern": f"^{_DECIMAL.pattern}$"}


def _only_text(value: Any) -> Any:
    # Pydantic would take a number for seconds since 1970; RFC 3339 is the only form here.
    if not isinstance(value, str):
        raise ValueError("an RFC 3339 time such as 2026-11-25T06:00:00Z")  # noqa: TRY004 - pydantic's form
    return value


def _day_or_moment(value: Any) -> Any:
    # A day is its first moment, in UTC.
    if isinstance(value, str) and _DAY.fullmatch(value):
        return f"{value}T00:00:00Z"
    return _only_text(value)


def _utc(moment: datetime) -> datetime:
    # At the ends of the calendar a moment has no form in UTC, and none a day before or after it.
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"outside of the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return moment.astimezone(UTC)


def _money(value: Any) -> int:
    if not isinstance(value, str) or not _DECIMAL.fullmatch(value):
        raise ValueError('a decimal string of USD with at most nine decimals, such as "0.05"')
    return money.from_wire(value)


def _rate(value: Any) -> int:
    if not isinstance(value, str) or not _RATE.fullmatch(value):
        raise ValueError('a decimal string of USD with at most six decimals, such as "2.5"')
    return money.rate_from_wire(value)


Moment = Annotated[
    datetime, PlainSerializer(clock.wire, when_used="json"), WithJsonSchema(_MOMENT_SCHEMA)
]
MomentIn = Annotated[
    AwareDatetime,
    BeforeValidator(_only_text),
    AfterValidator(_utc),
    WithJsonSchema(_MOMENT_SCHEMA),
]
DayOrMoment = Annotated[
    AwareDatetime,
    BeforeValidator(_day_or_moment),
    AfterValidator(_utc),
    WithJsonSchema(_MOMENT_SCHEMA),
]
# In, a decimal string is whole nano-dollars; out, the string was made by money.to_wire.
MoneyIn = Annotated[int, BeforeValidator(_money), WithJsonSchema(_MONEY_SCHEMA)]
Money = Annotated[str, WithJsonSchema(_MONEY_SCHEMA | {"description": "USD, exact"})]

# USD a million tokens; in, whole pico-dollars a token; out, the string was made by money.rate_to_wire.
RateIn = Annotated[int, BeforeValidator(_rate), WithJsonSchema(_RATE_SCHEMA)]
Rate = Annotated[str, WithJsonSchema(_RATE_SCHEMA | {"description": "USD a million tokens"})]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("only printable characters")
    return text


Label = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_printable)]
PathId = Annotated[str, Path(alias="id", description="The object's id.")]
Limit = Annotated[int, Query(ge=1, le=200, description="How many at most.")]
Cursor = Annotated[
    str | None, Query(max_length=64, description="`next_cursor` of the page before.")
]


class Listed(BaseModel, Generic[Item]):
    """A page of a list, newest first."""

    data: list[Item]
    next_cursor: str | None = Field(description="The cursor of the next page; null on the last.")


def answer(
    view: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """A view as JSON. A Response at once: FastAPI then neither validates nor encodes it again."""
    return Response(
        view.__pydantic_serializer__.to_json(view), status, headers, media_type="application/json"
    )


def replay(headers: dict[str, str], replayed: bool) -> dict[str, str]:
    """The headers of an answer to a writing request, which says where it made nothing new."""
    return headers | ({"Idempotent-Replayed": "true"} if replayed else {})


def identified(prefix: str, text: str, what: str) -> UUID:
    """The id in a path. What isn't one names nothing, like an id of nobody or of another tenant."""
    found = ids.parse(prefix, text)
    if found is None:
        raise missing(what)
    return found


def missing(what: str) -> NotFound:
    """The one answer for what isn't there, isn't yours, or can't be an id."""
    return NotFound(f"No such {what}.")


def after(cursor: str | None) -> UUID | None:
    """The id that a cursor stands for. Raises Invalid where it isn't one of ours."""
    if cursor is None:
        return None
    found = lists.after(cursor)
    if found is None:
        fault = {"pointer": "/cursor", "message": "not a cursor of this API", "in": "query"}
        raise Invalid("The cursor can't be read.", errors=[fault])
    return found
