"""The FastAPI application of the API: its routes behind the edge, its parts opened and closed with it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from app.api import (
    budgets,
    bulk,
    caps,
    collections,
    docs,
    events,
    health,
    interventions,
    jobs,
    keys,
    limits_page,
    moving,
    operations,
    plans,
    prices,
    problems,
    schedules,
    switches,
    tenant_keys,
    tenants,
    tools,
    usage,
    webhook_endpoints,
    why,
    workflows,
)
from app.api.edge import Edge
from app.api.metrics import Metrics
from app.api.routing import Route
from app.bootstrap.platform import ApiPlatform
from app.core.errors import TowpathError
from app.views.watching import Watch

# Before operations: `tenants/{tenant}/{verb}` would take what is named there.
_ROUTERS = (
    jobs.router, bulk.router, events.router, schedules.router, collections.router, workflows.router,
    webhook_endpoints.router, usage.router, budgets.router, keys.router, limits_page.router, tools.router, tenants.router, tenant_keys.router, switches.router,
    caps.router, prices.router, plans.router, operations.router,
    moving.router, interventions.router, why.router, health.router, docs.router,
)  # fmt: skip


_HANDLERS: Final[dict[Any, Callable[[Request, Any], Awaitable[Response]]]] = {
    TowpathError: problems.refused,
    RequestValidationError: problems.unfit,
    HTTPException: problems.unserved,
}


class Api(FastAPI):
    """FastAPI, with a short way for requests whose method and path alone say which route they want.

    Its stack of middlewares and its router are a tenth of what an admission costs.
    """

    def __init__(self, *, body_bytes: int, metrics: Metrics, **options: Any) -> None:
        super().__init__(**options)
        self.add_middleware(Edge, body_bytes=body_bytes, metrics=metrics)
        self._fixed = {
            (method, route.path): route
            for route in self.routes
            if isinstance(route, Route) and route.is_short
            for method in route.methods or ()
        }
        self._edge = Edge(_at_once, body_bytes=body_bytes, metrics=metrics)

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the lifespan."""
        if scope["type"] == "http" and not scope.get("root_path"):
            route = self._fixed.get((scope["method"], scope["path"]))
            if route is not None:
                scope["app"], scope["route"], scope["path_params"] = self, route, {}
                await self._edge(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


async def _at_once(scope: Scope, receive: Receive, send: Send) -> None:
    """The route that the scope names, with the handlers of what it may raise."""
    try:
        await scope["route"].app(scope, receive, send)
    except tuple(_HANDLERS) as error:
        handle = next(held for kind, held in _HANDLERS.items() if isinstance(error, kind))
        response = await handle(Request(scope, receive), error)
        await response(scope, receive, send)


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
    return Api(
        body_bytes=body_bytes,
        metrics=metrics,
        routes=[route for router in _ROUTERS for route in router.routes],
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        exception_handlers=_HANDLERS,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
