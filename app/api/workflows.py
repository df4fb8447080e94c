"""Workflows: definitions as data, in immutable versions."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, RootModel

from app.api import asking, wire
from app.api.asking import IdempotencyKey
from app.api.openapi import raises
from app.api.routing import OnPlatform, Route, WorkflowsRead, WorkflowsWrite
from app.api.wire import Listed, Moment, answer
from app.core import ids
from app.core.errors import Invalid, NotFound
from app.core.ids import VersionId
from app.idempotency import records
from app.workflows import versions
from app.workflows.errors import UnknownWorkflow
from app.workflows.models import WorkflowVersion

router: Final = APIRouter(route_class=Route, tags=["workflows"])

Name = Annotated[str, Path(description="The workflow's name.")]

_ROUTE: Final = "POST /v1/workflows/{name}/versions"
_DEFINITION: Final[dict[str, Any]] = {
    "name": "shout",
    "description": "A text in a fixed frame.",
    "input": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}},
    "steps": [{"id": "frame", "kind": "transform", "value": {"text": "=input.text"}}],
    "output": "=steps.frame",
}
_VERSION: Final[dict[str, Any]] = {
    "id": "wfv_01kb1c2v3e4m5n6p7q8r9s0t1v", "object": "workflow.version", "workflow": "shout",
    "number": 3, "released": True, "created_at": "2026-11-25T06:00:00.000000Z",
    "definition": _DEFINITION,
}  # fmt: skip
_WORKFLOW: Final[dict[str, Any]] = {
    "object": "workflow", "name": "shout", "released": 3, "created_at": "2026-11-25T06:00:00.000000Z",
}  # fmt: skip


class NewVersion(RootModel[dict[str, Any]]):
    """A definition. Each fault in it is answered with a pointer to its place."""

    model_config = ConfigDict(json_schema_extra={"examples": [_DEFINITION]})


class WorkflowBody(BaseModel):
    """A workflow and the version that its name alone runs."""

    model_config = ConfigDict(json_schema_extra={"examples": [_WORKFLOW]})

    object: Literal["workflow"] = "workflow"
    name: str
    released: int
    created_at: Moment


class VersionBody(BaseModel):
    """One version, which never changes."""

    model_config = ConfigDict(json_schema_extra={"examples": [_VERSION]})

    id: str
    object: Literal["workflow.version"] = "workflow.version"
    workflow: str
    number: int
    released: bool
    created_at: Moment
    definition: dict[str, Any] | None = Field(None, description="Not in lists.")

    @classmethod
    def of(cls, version: WorkflowVersion, released: int, *, whole: bool) -> "VersionBody":
        """A version as it was read, with its definition or without."""
        return cls(
            id=ids.wire("wfv", version.id), workflow=version.workflow, number=version.number,
            released=version.number == released, created_at=version.created_at,
            definition=version.definition if whole else None,
        )  # fmt: skip


@router.get("/v1/workflows", response_model=Listed[WorkflowBody])
async def list_workflows(caller: WorkflowsRead, platform: OnPlatform) -> Response:
    """List the tenant's workflows by name, all in one page."""
    async with platform.db.transaction() as session:
        found = await versions.listed(session, caller.tenant)
    data = [
        WorkflowBody(name=one.name, released=one.released, created_at=one.created_at)
        for one in found
    ]
    return answer(Listed[WorkflowBody](data=data, next_cursor=None))


@router.get("/v1/workflows/{name}", response_model=VersionBody, responses=raises("not_found"))
async def get_workflow(name: Name, caller: WorkflowsRead, platform: OnPlatform) -> Response:
    """Get the released version of a workflow, with its definition."""
    async with platform.db.transaction() as session:
        with _as_not_found():
            found = await versions.find(session, caller.tenant, name)
    return answer(VersionBody.of(found, found.number, whole=True))


@router.get(
    "/v1/workflows/{name}/versions",
    response_model=Listed[VersionBody],
    responses=raises("not_found"),
)
async def list_versions(name: Name, caller: WorkflowsRead, platform: OnPlatform) -> Response:
    """List the versions of a workflow, newest first, all in one page."""
    async with platform.db.transaction() as session:
        with _as_not_found():
            found = await versions.of(session, caller.tenant, name)
            released = (await versions.find(session, caller.tenant, name)).number
    data = [VersionBody.of(one, released, whole=False) for one in found]
    return answer(Listed[VersionBody](data=data, next_cursor=None))


@router.get(
    "/v1/workflows/{name}/versions/{number}",
    response_model=VersionBody,
    responses=raises("not_found"),
)
async def get_version(
    name: Name, number: str, caller: WorkflowsRead, platform: OnPlatform
) -> Response:
    """Get one version, with its definition."""
    if not number.isascii() or not number.isdigit() or len(number) > 9:
        raise wire.missing("version")
    async with platform.db.transaction() as session:
        with _as_not_found():
            found = await versions.find(session, caller.tenant, name, int(number))
            released = (await versions.find(session, caller.tenant, name)).number
    return answer(VersionBody.of(found, released, whole=True))


@router.post(
    "/v1/workflows/{name}/versions",
    status_code=201,
    response_model=VersionBody,
    responses={
        200: {"model": VersionBody, "description": "The released version is this very definition."},
        **raises("idempotency_key_reused", "idempotency_key_missing"),
    },
)
async def push_version(
    name: Name,
    body: NewVersion,
    key: IdempotencyKey,
    caller: WorkflowsWrite,
    platform: OnPlatform,
    request: Request,
) -> Response:
    """Push a version and release it. The same definition as the released one makes no new version: 200.
    Each fault is answered with a pointer to its place, and nothing is stored then.
    """
    raw = {"name": name} | body.root
    if raw["name"] != name:
        raise Invalid.at("/name", "is another name than the path's")
    replayed, created = False, False
    async with platform.db.transaction() as session:
        version = VersionId(ids.new())
        if key is not None:
            intent = records.fingerprint(raw)
            claim = await records.claim(session, caller.tenant, _ROUTE, key, intent, version)
            version, replayed = VersionId(claim.object), claim.replayed
        if not replayed:
            pushed = await versions.push(
                session, caller.tenant, raw, actor=asking.actor(request, caller),
                request_id=request.state.request_id, tools=platform.tools,
            )  # fmt: skip
            version, created = pushed.id, pushed.created
            if key is not None:
                await records.point(session, caller.tenant, _ROUTE, key, version)
        found = await versions.by_id(session, caller.tenant, version)
        released = (await versions.find(session, caller.tenant, name)).number
    headers = {"Location": f"/v1/workflows/{name}/versions/{found.number}"}
    shown = VersionBody.of(found, released, whole=True)
    return answer(shown, 201 if created or replayed else 200, wire.replay(headers, replayed))


@contextmanager
def _as_not_found() -> Iterator[None]:
    # To a job an unknown workflow is a fault of its body; here it is what the path names.
    try:
        yield
    except UnknownWorkflow as error:
        raise NotFound("No such workflow or version.") from error
