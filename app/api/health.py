"""Whether this process lives, whether it can work, and what it counts. Open to all."""

import contextlib
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from app.api import metrics
from app.api.openapi import raises
from app.api.routing import OnPlatform, Route
from app.api.wire import answer
from app.core.errors import Unavailable
from app.retention import purge
from app.views import readiness

router: Final = APIRouter(route_class=Route, tags=["health"])


class Health(BaseModel):
    """The process answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ok"}]})

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Jobs are admitted and worked on; with `part=api`, the first of it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": "ready", "schema_version": "0002"}]}
    )

    status: Literal["ready"] = "ready"
    schema_version: str


@router.get("/healthz", response_model=Health)
async def check_health() -> Response:
    """Say that the process lives. It asks nothing of anybody: a broken database is no reason to restart it."""
    return answer(Health())


@router.get("/readyz", response_model=Readiness, responses=raises("unavailable"))
async def check_readiness(
    platform: OnPlatform,
    part: Annotated[
        Literal["all", "api"],
        Query(
            description="`api`: only what this process needs to admit jobs, for a load balancer."
        ),
    ] = "all",
) -> Response:
    """Say whether the platform makes progress. 503 where the database is out of reach or has no schema, and where
    a loop, the workers or the broker have stood still for ten seconds: `parts` says which.
    """
    look = readiness.progress if part == "all" else readiness.schema_version
    return answer(Readiness(schema_version=await look(platform.db)))


@router.get("/metrics", response_class=Response, include_in_schema=False)
async def get_metrics(request: Request, platform: OnPlatform) -> Response:
    """Counts for a scraper, in the text format of Prometheus."""
    shown = request.state.metrics
    with contextlib.suppress(Unavailable):  # the counts of this process are told all the same
        async with platform.db.transaction() as session:
            shown.purging(await purge.marks(session))
    return Response(shown.exposition(), media_type=metrics.CONTENT_TYPE)
