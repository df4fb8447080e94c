"""Calls in doubt: seen, and answered by a person."""

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.api import asking, wire
from app.api.bodies import JobBody
from app.api.openapi import raises
from app.api.routing import Approver, JobsRead, OnPlatform, Route
from app.api.wire import Listed, Moment, PathId, answer
from app.core.ids import JobId
from app.execution import interventions
from app.execution.interventions import MAX_COMMENT, Answer
from app.tools.models import ToolCall
from app.views import jobs as views

router: Final = APIRouter(route_class=Route, tags=["jobs"])

StepName = Annotated[str, Path(alias="step", max_length=63, description="The step's id.")]

_CALL: Final[dict[str, Any]] = {
    "object": "job.intervention", "step": "remind", "item": 0, "tool": "mail.send", "tool_version": "1",
    "arguments": {"to": "ada@example.com"}, "effect_key": "01kb1c2v3e4m5n6p7q8r9s0t1v:remind:0:0",
    "begun_at": "2026-11-25T06:00:00.000000Z",
}  # fmt: skip


class InterventionBody(BaseModel):
    """A call that may have had its effect. `effect_key` is what its far end knows it by, where it was told."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CALL]})

    object: Literal["job.intervention"] = "job.intervention"
    step: str
    item: int = Field(description="0, or the position in a map's list.")
    tool: str
    tool_version: str
    arguments: dict[str, Any]
    effect_key: str
    begun_at: Moment

    @classmethod
    def of(cls, call: ToolCall) -> "InterventionBody":
        """A call as it was written down before it was made."""
        return cls(
            step=call.step, item=call.item, tool=call.tool, tool_version=call.version,
            arguments=call.arguments, effect_key=call.key, begun_at=call.begun_at,
        )  # fmt: skip


class AnswerBody(BaseModel):
    """How the call ended. `done`: it happened, with this result. `retry`: it did not, make it again. `fail`: the job is over."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"answer": "done", "result": {"sent": True}}]},
    )

    answer: Answer
    result: Any = Field(None, description="With `done`: what the tool would have given.")
    item: int = Field(0, ge=0, description="The position in a map's list.")
    comment: Annotated[str, Field(min_length=1, max_length=MAX_COMMENT)] | None = None

    @model_validator(mode="after")
    def _result_of_what_was_done(self) -> "AnswerBody":
        if ("result" in self.model_fields_set) != (self.answer == "done"):
            raise ValueError("`done` needs a result, and nothing else has one")
        return self


@router.get(
    "/v1/jobs/{id}/interventions",
    response_model=Listed[InterventionBody],
    responses=raises("not_found"),
)
async def list_interventions(id_: PathId, caller: JobsRead, platform: OnPlatform) -> Response:
    """List the calls that a job waits for a person to answer, oldest first. All in one page."""
    job = JobId(wire.identified("job", id_, "job"))
    async with platform.db.transaction() as session:
        found = await interventions.listed(session, caller.tenant, job)
    data = [InterventionBody.of(one) for one in found]
    return answer(Listed[InterventionBody](data=data, next_cursor=None))


@router.post(
    "/v1/jobs/{id}/interventions/{step}",
    status_code=202,
    response_model=JobBody,
    responses=raises("not_found", "job_not_waiting"),
)
async def answer_intervention(
    body: AnswerBody,
    id_: PathId,
    step: StepName,
    caller: Approver,
    platform: OnPlatform,
    request: Request,
) -> Response:
    """Say how a call in doubt ended. The job goes on with it, makes the call again, or has failed."""
    job = JobId(wire.identified("job", id_, "job"))
    async with platform.db.transaction() as session:
        await interventions.answer(
            session, caller.tenant, job, step, body.item, body.answer, body.result,
            tools=platform.tools, comment=body.comment, actor=asking.actor(request, caller),
        )  # fmt: skip
    async with platform.db.transaction() as session:
        view = await views.get(session, caller.tenant, job)
    return answer(JobBody.of(view), 202)
