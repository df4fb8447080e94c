"""How every route is reached: first who calls, then a strict reading of the body, then FastAPI's part."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Final

from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute
from typing_extensions import override

from app.api import strict
from app.api.errors import InvalidJson, UnsupportedMediaType
from app.bootstrap.platform import ApiPlatform
from app.tenants import keys
from app.tenants.errors import Forbidden, Unauthenticated
from app.tenants.keys import Caller

_BEARER: Final = "bearer "


class Scoped:
    """The dependency that gives a route its caller, who must have this scope (None: any good key)."""

    def __init__(self, scope: str | None) -> None:
        self.scope = scope

    async def __call__(self, request: Request) -> Caller:
        """The caller, whom the route has identified before it read the body."""
        caller: Caller = request.state.caller
        return caller


AnyCaller = Annotated[Caller, Depends(Scoped(None))]
JobsRead = Annotated[Caller, Depends(Scoped("jobs:read"))]
JobsWrite = Annotated[Caller, Depends(Scoped("jobs:write"))]
WorkflowsRead = Annotated[Caller, Depends(Scoped("workflows:read"))]
WorkflowsWrite = Annotated[Caller, Depends(Scoped("workflows:write"))]
CollectionsRead = Annotated[Caller, Depends(Scoped("collections:read"))]
CollectionsWrite = Annotated[Caller, Depends(Scoped("collections:write"))]
WebhooksWrite = Annotated[Caller, Depends(Scoped("webhooks:write"))]
UsageRead = Annotated[Caller, Depends(Scoped("usage:read"))]
KeysWrite = Annotated[Caller, Depends(Scoped("keys:write"))]


class _StrictRequest(Request):
    """A request whose JSON has been read by our rules; FastAPI takes it from here."""

    parsed: Any = None

    @override
    async def json(self) -> Any:
        """The value that `strict` has read."""
        return self.parsed


class Route(APIRoute):
    """A route of the API. Its summary is the first sentence of its docstring."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        said = (endpoint.__doc__ or "").strip()
        options["summary"] = options.get("summary") or said.split("\n")[0].split(". ")[0].rstrip(
            "."
        )
        # `_read` has looked at the content type already.
        super().__init__(path, endpoint, **options | {"strict_content_type": False})

    @property
    def guard(self) -> Scoped | None:
        """Who may call it, or None where everybody may."""
        found = (one.call for one in self.dependant.dependencies)
        return next((call for call in found if isinstance(call, Scoped)), None)

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler behind the two gates."""
        handle = super().get_route_handler()
        guard, reads = self.guard, self.body_field is not None

        async def guarded(request: Request) -> Response:
            if guard is not None:
                request.state.caller = await _identify(request, guard.scope)
            if reads:
                request = await _read(request)
            return await handle(request)

        return guarded


async def platform(request: Request) -> ApiPlatform:
    """The parts of this process."""
    found: ApiPlatform = request.state.platform
    return found


OnPlatform = Annotated[ApiPlatform, Depends(platform)]


async def _identify(request: Request, scope: str | None) -> Caller:
    parts: ApiPlatform = request.state.platform
    header = request.headers.get("authorization", "")
    if header[: len(_BEARER)].lower() != _BEARER:
        raise Unauthenticated("Send an API key: `Authorization: Bearer tp_…`.")
    caller = await keys.identify(parts.keys, parts.db, header[len(_BEARER) :].strip())
    if scope is not None and scope not in caller.scopes:
        raise Forbidden(f"The key has no scope {scope}.", scope=scope)
    return caller


async def _read(request: Request) -> Request:
    kind = request.headers.get("content-type", "application/json").split(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise UnsupportedMediaType("Send JSON: `Content-Type: application/json`.")
    reading = _StrictRequest(request.scope, request.receive)
    body = await reading.body()
    if not body:
        raise InvalidJson("The body is empty.")
    reading.parsed = strict.parse(body)
    return reading
