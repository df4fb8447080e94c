"""Usage: what was used and what it cost, summed up or line by line."""

from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict

from app.api import wire
from app.api.details import LineBody
from app.api.openapi import raises
from app.api.routing import OnPlatform, Route, UsageRead
from app.api.wire import Cursor, DayOrMoment, Limit, Listed, Moment, Money, answer
from app.core import clock, money
from app.core.ids import JobId
from app.usage import exports, reports
from app.usage.reports import Row
from app.views import usage as views
from app.views.usage import Filter

router: Final = APIRouter(route_class=Route, tags=["usage"])

SPAN: Final = timedelta(days=30)  # what is reported where the client names no beginning
_GROUP: Final[dict[str, Any]] = {
    "day": "2026-11-25", "model": "smollm2-135m", "calls": 2, "input_tokens": 412, "cached_tokens": 0,
    "cache_write_tokens": 0, "output_tokens": 31, "reasoning_tokens": 0, "cost": "0.0000474",
    "unconfirmed": "0",
}  # fmt: skip
_SUMS: Final = {name: value for name, value in _GROUP.items() if name not in ("day", "model")}
_REPORT: Final[dict[str, Any]] = {
    "object": "usage.report", "group_by": ["day", "model"], "since": "2026-11-01T00:00:00.000000Z",
    "until": "2026-12-01T00:00:00.000000Z", "data": [_GROUP], "total": _SUMS,
}  # fmt: skip
_CSV: Final[dict[str, Any]] = {
    "description": "The report, as JSON or as CSV.",
    "content": {"text/csv": {"example": "day,calls,cost_usd\r\n2026-11-25,2,0.0000474\r\n"}},
}


class SumsBody(BaseModel):
    """Sums. Input includes cached and cache-write tokens, output includes reasoning."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [_GROUP]})

    calls: int
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    cost: Money
    unconfirmed: Money

    @classmethod
    def of(cls, rows: list[Row], **keys: str) -> "SumsBody":
        """The sums of rows, under what they are cut by."""
        return cls(
            **keys,
            calls=sum(row.calls for row in rows),
            input_tokens=sum(row.input_tokens for row in rows),
            cached_tokens=sum(row.cached_tokens for row in rows),
            cache_write_tokens=sum(row.cache_write_tokens for row in rows),
            output_tokens=sum(row.output_tokens for row in rows),
            reasoning_tokens=sum(row.reasoning_tokens for row in rows),
            cost=money.to_wire(sum(row.cost_nanousd for row in rows)),
            unconfirmed=money.to_wire(sum(row.unconfirmed_nanousd for row in rows)),
        )


class ReportBody(BaseModel):
    """A report: one entry a group, with the names of `group_by` as fields, and the total."""

    model_config = ConfigDict(json_schema_extra={"examples": [_REPORT]})

    object: Literal["usage.report"] = "usage.report"
    group_by: list[str]
    since: Moment
    until: Moment
    data: list[SumsBody]
    total: SumsBody


@router.get("/v1/usage", response_model=ReportBody, responses={200: _CSV})
async def report_usage(
    caller: UsageRead,
    platform: OnPlatform,
    group_by: Annotated[
        list[str] | None,
        Query(
            description=f"Any of {', '.join(reports.GROUPS)}; repeated, or with commas. `day` if none. By "
            "`tag`, a call is in the row of each of its tags, and in `total` once."
        ),
    ] = None,
    since: Annotated[
        DayOrMoment | None, Query(description="From here on. 30 days before `until` if none.")
    ] = None,
    until: Annotated[
        DayOrMoment | None, Query(description="Up to and without. Now if none.")
    ] = None,
    time_zone: Annotated[str, Query(max_length=64, description="Whose days are meant.")] = "UTC",
    workflow: Annotated[str | None, Query(max_length=64)] = None,
    model: Annotated[str | None, Query(max_length=200)] = None,
    format: Literal["json", "csv"] = "json",  # noqa: A002 - the name in the query
) -> Response:
    """Report usage and cost of the tenant. It is exact at this moment: a call that has just been settled is
    in it. As JSON, or as CSV with `format=csv`.
    """
    groups = [name for given in group_by or ["day"] for name in given.split(",") if name]
    end = until or clock.now() + timedelta(minutes=1)  # clocks differ: what is metered now is in
    begin = since or end - SPAN
    async with platform.db.transaction() as session:
        rows = await reports.usage(
            session, caller.tenant, group_by=groups, since=begin, until=end, zone=time_zone,
            workflow=workflow, model=model,
        )  # fmt: skip
        all_of_it = rows
        if "tag" in groups:  # whose rows count a call as often as it has tags
            all_of_it = await reports.usage(
                session, caller.tenant, group_by=(), since=begin, until=end, zone=time_zone,
                workflow=workflow, model=model,
            )  # fmt: skip
    if format == "csv":
        headers = {"Content-Disposition": 'attachment; filename="usage.csv"'}
        text = exports.as_csv(rows, groups)
        return Response(text, headers=headers, media_type="text/csv; charset=utf-8")
    data = [SumsBody.of([row], **row.keys) for row in rows]
    return answer(
        ReportBody(group_by=groups, since=begin, until=end, data=data, total=SumsBody.of(all_of_it))
    )


@router.get("/v1/usage/records", response_model=Listed[LineBody], responses=raises("not_found"))
async def list_usage_records(
    caller: UsageRead,
    platform: OnPlatform,
    limit: Limit = 20,
    cursor: Cursor = None,
    since: DayOrMoment | None = None,
    until: DayOrMoment | None = None,
    workflow: Annotated[str | None, Query(max_length=64)] = None,
    model: Annotated[str | None, Query(max_length=200)] = None,
    job: Annotated[str | None, Query(description="Of one job alone, by its id.")] = None,
) -> Response:
    """List usage line by line, newest first. Lines never change; a correction is a line of its own."""
    wire.after(cursor)
    wanted = None if job is None else JobId(wire.identified("job", job, "job"))
    narrow = Filter(since, until, workflow, model, wanted)
    async with platform.db.transaction() as session:
        page = await views.lines(session, caller.tenant, narrow, cursor=cursor, limit=limit)
    data = [LineBody.of(line) for line in page.items]
    return answer(Listed[LineBody](data=data, next_cursor=page.next_cursor))
