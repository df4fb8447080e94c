"""A job's events: as JSON, or as Server-Sent Events that go on until the job is over."""

from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.api import wire
from app.api.details import EventBody
from app.api.openapi import raises
from app.api.routing import JobsRead, OnPlatform, Route
from app.api.wire import Listed, PathId, answer
from app.bootstrap.platform import ApiPlatform
from app.core.errors import Invalid
from app.core.ids import JobId, TenantId
from app.views import jobs as views
from app.views.watching import Watch

router: Final = APIRouter(route_class=Route, tags=["jobs"])

HEARTBEAT_SECONDS: Final = 15.0
PAGE: Final = 200

_STREAM: Final = {
    "description": "The events so far, or a stream of them.",
    "content": {"text/event-stream": {"example": 'id: 1\nevent: job.queued\ndata: {"seq": 1}\n\n'}},
}


@router.get(
    "/v1/jobs/{id}/events",
    response_model=Listed[EventBody],
    responses={200: _STREAM, **raises("not_found")},
)
async def list_events(
    id_: PathId,
    caller: JobsRead,
    platform: OnPlatform,
    request: Request,
    after: Annotated[int, Query(ge=0, le=2**53, description="Only events after this `seq`.")] = 0,
    accept: Annotated[str, Header()] = "text/event-stream",
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """Follow a job's events. As Server-Sent Events, from `Last-Event-ID` on, until the job is over; or with
    `Accept: application/json` those that have happened, as a page whose cursor is the next `after`.
    """
    job = JobId(wire.identified("job", id_, "job"))
    begin = after if last_event_id is None else _seq(last_event_id)
    async with platform.db.transaction() as session:
        first = await views.happened(session, caller.tenant, job, after=begin, limit=PAGE)
    if "application/json" in accept:
        data = [EventBody.of(event) for event in first.events]
        more = str(data[-1].seq) if len(data) == PAGE else None
        return answer(Listed[EventBody](data=data, next_cursor=more))
    stream = _follow(platform, request.state.watch, caller.tenant, job, begin)
    return StreamingResponse(
        stream, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"}
    )


def _seq(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        fault = {"pointer": "/last-event-id", "message": "not the id of an event", "in": "header"}
        raise Invalid("Last-Event-ID is the id of the last event received.", errors=[fault])
    return int(text)


async def _follow(
    platform: ApiPlatform, watch: Watch, tenant: TenantId, job: JobId, seq: int
) -> AsyncIterator[bytes]:
    # No transaction is open while the client reads or nothing happens.
    with watch.on(job) as place:
        while not watch.closing:
            async with platform.db.transaction() as session:
                happened = await views.happened(session, tenant, job, after=seq, limit=PAGE)
            for event in happened.events:
                seq = event.seq
                yield _event(EventBody.of(event))
            if happened.ended:
                return
            full = len(happened.events) == PAGE
            if not full and not await watch.beyond(place, seq, HEARTBEAT_SECONDS):
                yield b": heartbeat\n\n"


def _event(body: EventBody) -> bytes:
    data = body.__pydantic_serializer__.to_json(body)  # on one line: JSON escapes what would end it
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (body.seq, body.type.encode(), data)
