"""Details of a job on the wire: its events, its steps, its calls and the lines they were charged by."""

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from app.api.bodies import JobErrorBody, UsageBody
from app.api.wire import Moment, Money
from app.budgets.models import Reservation
from app.core import ids, money
from app.core.ids import JobId
from app.jobs.models import JobEvent
from app.usage.models import UsageLine
from app.views.jobs import Receipt, Used
from app.workflows.models import Step

StepState = Annotated[str, WithJsonSchema({"type": "string", "enum": ["succeeded", "failed"]})]
HoldState = Annotated[
    str, WithJsonSchema({"type": "string", "enum": ["held", "settled", "released"]})
]
LineKind = Annotated[str, WithJsonSchema({"type": "string", "enum": ["charge", "correction"]})]

_JOB: Final = "job_01kb1c2v3e4m5n6p7q8r9s0t1v"
_ATTEMPT: Final = "att_01kb1c2v3e4m5n6p7q8r9s0t1v"
_CALL_ID: Final = "call_01kb1c2v3e4m5n6p7q8r9s0t1v"
_BEGAN: Final = "2026-11-25T06:00:00.000000Z"
_ENDED: Final = "2026-11-25T06:00:01.250000Z"
_USED: Final[dict[str, Any]] = {
    "input_tokens": 206, "output_tokens": 15, "cached_tokens": 0, "reasoning_tokens": 0,
    "model_calls": 1, "tool_calls": 0, "cost": "0.0000237",
}  # fmt: skip
_EVENT: Final[dict[str, Any]] = {
    "seq": 3, "object": "job.event", "job": _JOB, "type": "step.succeeded", "at": _ENDED,
    "attempt": _ATTEMPT, "data": {"step": "draft", "item": 0, "kind": "model"},
}  # fmt: skip
_STEP: Final[dict[str, Any]] = {
    "id": "stp_01kb1c2v3e4m5n6p7q8r9s0t1v", "object": "step", "name": "draft", "item": 0,
    "kind": "model", "state": "succeeded", "attempt": _ATTEMPT, "started_at": _BEGAN,
    "finished_at": _ENDED, "seconds": 1.25, "prompt": "draft@1", "model": "local/smollm2-135m",
    "route": "local", "usage": _USED, "cache": "miss",
    "result": {"text": "Backups are encrypted with AES-256."}, "error": None,
}  # fmt: skip
_CALL: Final[dict[str, Any]] = {
    "id": _CALL_ID, "step": "draft", "attempt": _ATTEMPT, "provider": "local",
    "model": "smollm2-135m", "state": "settled", "held": "0.0000812", "cost": "0.0000237",
    "unconfirmed": False, "overrun": False, "made_at": _BEGAN, "closed_at": _ENDED,
}  # fmt: skip
_LINE: Final[dict[str, Any]] = {
    "id": "use_01kb1c2v3e4m5n6p7q8r9s0t1v", "object": "usage.line", "kind": "charge", "call": _CALL_ID,
    "job": _JOB, "step": "draft", "at": _BEGAN, "workflow": "answer", "workflow_version": 1,
    "lane": "interactive", "key": None, "end_user": None, "tags": ["support"], "provider": "local",
    "model": "smollm2-135m", "input_tokens": 206, "cached_tokens": 0, "cache_write_tokens": 0, "output_tokens": 15,
    "reasoning_tokens": 0, "estimated": False, "unconfirmed": False, "cost": "0.0000237",
    "latency_ms": 1180,
}  # fmt: skip


class EventBody(BaseModel):
    """What happened to a job. `seq` starts at 1 and has no gaps."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EVENT]})

    seq: int
    object: Literal["job.event"] = "job.event"
    job: str
    type: str
    at: Moment
    attempt: str | None
    data: dict[str, Any]

    @classmethod
    def of(cls, event: JobEvent) -> "EventBody":
        """An event as it was read."""
        return cls(
            seq=event.seq, job=ids.wire("job", event.job), type=event.name, at=event.at,
            attempt=None if event.attempt is None else ids.wire("att", event.attempt), data=event.data,
        )  # fmt: skip


class StepBody(BaseModel):
    """One try of a step. `item` counts the items of a map."""

    model_config = ConfigDict(json_schema_extra={"examples": [_STEP]})

    id: str
    object: Literal["step"] = "step"
    name: str
    item: int
    kind: str
    state: StepState
    attempt: str
    started_at: Moment
    finished_at: Moment
    seconds: float
    prompt: str | None
    model: str | None
    route: str | None
    usage: UsageBody
    cache: str | None
    result: Any
    error: JobErrorBody | None

    @classmethod
    def of(cls, step: Step) -> "StepBody":
        """A step as it was read."""
        facts = step.facts
        model = f"{facts['provider']}/{facts['model']}" if "model" in facts else None
        used = Used(
            facts.get("calls", 0), facts.get("input_tokens", 0), facts.get("cached_tokens", 0),
            facts.get("output_tokens", 0), facts.get("reasoning_tokens", 0), facts.get("cost_nanousd", 0),
            facts.get("tool_calls", 0),
        )  # fmt: skip
        return cls(
            id=ids.wire("stp", step.id), name=step.name, item=step.item, kind=step.kind,
            state=step.state, attempt=ids.wire("att", step.attempt), started_at=step.started_at,
            finished_at=step.finished_at,
            seconds=round((step.finished_at - step.started_at).total_seconds(), 6),
            prompt=facts.get("prompt"), model=model, route=facts.get("route"),
            usage=UsageBody.of(used), cache=facts.get("cache"), result=step.result,
            error=JobErrorBody.of(step.error),
        )  # fmt: skip


class CallBody(BaseModel):
    """One model call: the money set aside for it, and how that ended."""

    model_config = ConfigDict(json_schema_extra={"examples": [_CALL]})

    id: str
    step: str
    attempt: str
    provider: str
    model: str
    state: HoldState
    held: Money
    cost: Money | None
    unconfirmed: bool = Field(description="Booked at the hold: what it really cost isn't known.")
    overrun: bool = Field(description="It cost more than was held.")
    made_at: Moment
    closed_at: Moment | None

    @classmethod
    def of(cls, hold: Reservation) -> "CallBody":
        """A hold as it was read."""
        return cls(
            id=ids.wire("call", hold.id), step=hold.step, attempt=ids.wire("att", hold.attempt),
            provider=hold.provider, model=hold.model, state=hold.state,
            held=money.to_wire(hold.asked_nanousd),
            cost=None if hold.cost_nanousd is None else money.to_wire(hold.cost_nanousd),
            unconfirmed=hold.unconfirmed, overrun=hold.overrun, made_at=hold.made_at,
            closed_at=hold.closed_at,
        )  # fmt: skip


class LineBody(BaseModel):
    """A usage line: one metered fact. A correction is a line of its own for the same call."""

    model_config = ConfigDict(json_schema_extra={"examples": [_LINE]})

    id: str
    object: Literal["usage.line"] = "usage.line"
    kind: LineKind
    call: str
    job: str
    step: str
    at: Moment
    workflow: str
    workflow_version: int
    lane: str
    key: str | None
    end_user: str | None
    tags: list[str]
    provider: str
    model: str
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    reasoning_tokens: int
    estimated: bool = Field(description="Counted by Towpath, since the provider sent no usage.")
    unconfirmed: bool
    cost: Money
    latency_ms: int

    @classmethod
    def of(cls, line: UsageLine) -> "LineBody":
        """A line as it was read."""
        return cls(
            id=ids.wire("use", line.id), kind=line.kind, call=ids.wire("call", line.call),
            job=ids.wire("job", line.job), step=line.step, at=line.at, workflow=line.workflow,
            workflow_version=line.workflow_version, lane=line.lane,
            key=None if line.key is None else ids.wire("key", line.key),
            end_user=line.end_user, tags=line.tags,
            provider=line.provider, model=line.model, input_tokens=line.input_tokens,
            cached_tokens=line.cached_tokens, cache_write_tokens=line.cache_write_tokens,
            output_tokens=line.output_tokens, reasoning_tokens=line.reasoning_tokens,
            estimated=line.estimated,
            unconfirmed=line.unconfirmed, cost=money.to_wire(line.cost_nanousd),
            latency_ms=line.latency_ms,
        )  # fmt: skip


class ReceiptBody(BaseModel):
    """What a job was charged: every call, every line, and their sum."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "object": "job.receipt",
                    "job": _JOB,
                    "calls": [_CALL],
                    "lines": [_LINE],
                    "usage": _USED,
                    "held": "0",
                }
            ]
        }
    )

    object: Literal["job.receipt"] = "job.receipt"
    job: str
    calls: list[CallBody]
    lines: list[LineBody]
    usage: UsageBody = Field(description="The sum of the lines.")
    held: Money = Field(description="Still set aside for calls under way.")

    @classmethod
    def of(cls, job: JobId, receipt: Receipt) -> "ReceiptBody":
        """A receipt as it was read."""
        held = sum(hold.asked_nanousd for hold in receipt.holds if hold.state == "held")
        return cls(
            job=ids.wire("job", job), calls=[CallBody.of(hold) for hold in receipt.holds],
            lines=[LineBody.of(line) for line in receipt.lines], usage=UsageBody.of(receipt.used),
            held=money.to_wire(held),
        )  # fmt: skip
