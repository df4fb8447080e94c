"""Usage: what was used and what it cost, summed up or line by line."""

from typing import Final

from fastapi import APIRouter, Response

from app.api import wire
from app.api.details import LineBody
from app.api.routing import OnPlatform, Route, UsageRead
from app.api.wire import Cursor, Limit, Listed, MomentIn, answer
from app.core.ids import JobId
from app.views import usage as views
from app.views.usage import Filter

router: Final = APIRouter(route_class=Route, tags=["usage"])


@router.get("/v1/usage/records", response_model=Listed[LineBody])
async def list_usage_records(
    caller: UsageRead,
    platform: OnPlatform,
    limit: Limit = 20,
    cursor: Cursor = None,
    since: MomentIn | None = None,
    until: MomentIn | None = None,
    workflow: str | None = None,
    model: str | None = None,
    job: str | None = None,
) -> Response:
    """List usage line by line, newest first. Lines never change; a correction is a line of its own."""
    wire.after(cursor)
    wanted = None if job is None else JobId(wire.identified("job", job, "job"))
    narrow = Filter(since, until, workflow, model, wanted)
    async with platform.db.transaction() as session:
        page = await views.lines(session, caller.tenant, narrow, cursor=cursor, limit=limit)
    data = [LineBody.of(line) for line in page.items]
    return answer(Listed[LineBody](data=data, next_cursor=page.next_cursor))
