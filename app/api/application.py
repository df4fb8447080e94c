"""The FastAPI application of the API: its routes behind the edge, its parts opened and closed with it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from app.api import (
    budgets,
    collections,
    docs,
    events,
    health,
    jobs,
    keys,
    limits_page,
    problems,
    schedules,
    usage,
    webhook_endpoints,
    workflows,
)
from app.api.edge import Edge
from app.api.metrics import Metrics
from app.bootstrap.platform import ApiPlatform
from app.core.errors import TowpathError
from app.views.watching import Watch

_ROUTERS = (
    jobs.router, events.router, schedules.router, collections.router, workflows.router, webhook_endpoints.router,
    usage.router, budgets.router, keys.router, limits_page.router, health.router, docs.router,
)  # fmt: skip


def build(open_platform: Callable[[], Awaitable[ApiPlatform]], *, body_bytes: int) -> FastAPI:
    """An application. Its platform is opened when it starts, in the loop that serves it."""
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        platform = await open_platform()
        watch = Watch(platform.db)
        watch.open()
        metrics.watching(watch.watchers)
        metrics.limiting(platform.limiter)
        app.state.watch = watch
        yield {"platform": platform, "watch": watch, "metrics": metrics}
        await watch.close()
        await platform.close()

    # The routes themselves: included routers would be matched a second time on every request. FastAPI's
    # own telemetry would look at its settings on each; what is counted here is the edge's business.
    app = FastAPI(
        routes=[route for router in _ROUTERS for route in router.routes],
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.add_exception_handler(TowpathError, problems.refused)
    app.add_exception_handler(RequestValidationError, problems.unfit)
    app.add_exception_handler(HTTPException, problems.unserved)
    app.add_middleware(Edge, body_bytes=body_bytes, metrics=metrics)
    return app
