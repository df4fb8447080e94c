"""Jobs on the wire: what a client may ask for, and what it is shown."""

from datetime import datetime
from functools import lru_cache
from typing import Annotated, Any, Final, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictInt,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from typing_extensions import override

from app.api.wire import Label, Moment, MomentIn, Money, MoneyIn
from app.core import ids, money
from app.core.ids import EndpointId
from app.intake.admission import Admitted, JobSpec
from app.intake.uniqueness import Unique
from app.jobs import states
from app.views.jobs import JobView, Provenance, Used

MAX_TAGS: Final = 32
MAX_WINDOW_SECONDS: Final = 366 * 86_400
MAX_PAIRS: Final = 16  # of metadata, which travels in webhooks of at most 20 KB
RELEASE: Final = "stable"

Status = Literal[
    "scheduled", "queued", "running", "waiting", "succeeded", "failed", "cancelled", "expired"
]
Lane = Literal["interactive", "standard", "batch"]
StatusOut = Annotated[str, WithJsonSchema({"type": "string", "enum": list(get_args(Status))})]
LaneOut = Annotated[str, WithJsonSchema({"type": "string", "enum": list(get_args(Lane))})]
Scalar = Annotated[str, Field(max_length=512)] | StrictInt | float | bool | None

EXAMPLE: Final[dict[str, Any]] = {
    "workflow": "answer",
    "input": {"collection": "handbook", "question": "How are backups encrypted?"},
    "lane": "interactive",
    "max_cost": "0.05",
    "metadata": {"ticket": "T-1042"},
    "tags": ["support"],
}


_ID: Final = "job_01kb1c2v3e4m5n6p7q8r9s0t1v"
_NOTHING_USED: Final[dict[str, Any]] = {
    "input_tokens": 0, "output_tokens": 0, "cached_tokens": 0, "reasoning_tokens": 0,
    "model_calls": 0, "tool_calls": 0, "cost": "0",
}  # fmt: skip
JOB_EXAMPLE: Final[dict[str, Any]] = EXAMPLE | {
    "id": _ID, "object": "job", "workflow_version": 1, "status": "queued", "waiting_for": None,
    "priority": 4, "output": None, "error": None, "attempts": 0, "run": 1, "progress": None,
    "usage": _NOTHING_USED, "max_attempts": 3, "end_user": None, "session": None,
    "created_at": "2026-11-25T06:00:00.000000Z", "run_at": None, "started_at": None,
    "finished_at": None, "deadline_at": None, "cancel_requested_at": None, "queue_position": 1,
    "estimated_start_at": None,
    "provenance": {
        "workflow_version": 1, "prompts": [], "models": [], "routes": [], "corpus": {}, "cache": {},
        "tools": [], "policy": None, "release": "stable",
    },
    "links": {
        name: f"/v1/jobs/{_ID}" + ("" if name == "self" else f"/{name}")
        for name in ("self", "events", "steps", "receipt", "cancel", "retry")
    },
}  # fmt: skip


class UniqueKey(BaseModel):
    """A name that one job of the tenant has at a time, and what becomes of a second one."""

    model_config = ConfigDict(extra="forbid")

    key: Label
    window_seconds: Annotated[StrictInt, Field(ge=1, le=MAX_WINDOW_SECONDS)] | None = Field(
        None,
        description="How long the name is kept from the admission of its job on, whatever becomes of "
        "that. Without it, until that job ends.",
    )
    on_conflict: Literal["reject", "return", "replace"] = Field(
        "return",
        description="`reject`: 409. `return`: the job that has the name. `replace`: that is cancelled, "
        "if no worker has begun it; else 409.",
    )


class JobTemplate(BaseModel):
    """What a job is, apart from its times."""

    model_config = ConfigDict(extra="forbid")

    workflow: Annotated[
        str, StringConstraints(pattern=r"^[a-z][a-z0-9_.-]{0,62}(@[1-9][0-9]{0,8})?$")
    ] = Field(description="`name` runs the released version, `name@3` exactly version 3.")
    input: dict[str, Any] = Field(description="What the workflow's schema asks for.")
    lane: Lane = "standard"
    priority: StrictInt = Field(4, ge=0, le=9, description="Higher first, inside a lane.")
    max_cost: Annotated[MoneyIn, Field(gt=0)] | None = Field(
        None, description="The most that the job may spend, in USD."
    )
    max_attempts: Annotated[StrictInt, Field(ge=1, le=20)] | None = None
    metadata: dict[Annotated[str, Field(min_length=1, max_length=64)], Scalar] = Field(
        default_factory=dict, max_length=MAX_PAIRS
    )
    tags: list[Label] = Field(default_factory=list, max_length=MAX_TAGS)
    end_user: Label | None = None
    session: Label | None = None
    callback_url: Annotated[str, Field(min_length=1, max_length=2_000)] | None = Field(
        None,
        description="The URL of one of the tenant's enabled webhook endpoints, exactly. It is told of this "
        "job's end and waits whatever events it asks for, signed with its own secret.",
    )
    unique_key: Label | UniqueKey | None = Field(
        None, description="A name that one job has at a time; as text, one that is returned."
    )

    def times(self) -> tuple[datetime | None, datetime | None]:
        """`run_at` and `deadline_at`."""
        return None, None

    def spec(self, traceparent: str | None, callback: EndpointId | None = None) -> JobSpec:
        """What admission is asked for. `callback` is the endpoint at `callback_url`."""
        name, _, number = self.workflow.partition("@")
        return JobSpec(
            name, self.input, int(number) if number else None, self.lane, self.priority,
            *self.times(), self.max_cost, self.max_attempts, self.metadata, tuple(self.tags),
            self.end_user, self.session, traceparent, _unique(self.unique_key), self.callback_url, callback,
        )  # fmt: skip


class NewJob(JobTemplate):
    """A job to admit. Unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [EXAMPLE]})

    run_at: MomentIn | None = Field(None, description="Not before this time.")
    deadline_at: MomentIn | None = Field(None, description="Finished by then, or expired.")

    @model_validator(mode="after")
    def _begins_before_it_ends(self) -> "NewJob":
        if (
            self.run_at is not None
            and self.deadline_at is not None
            and self.deadline_at <= self.run_at
        ):
            raise ValueError("deadline_at is not after run_at")
        return self

    @override
    def times(self) -> tuple[datetime | None, datetime | None]:
        return self.run_at, self.deadline_at


def _unique(given: str | UniqueKey | None) -> Unique | None:
    match given:
        case None:
            return None
        case str():
            return Unique(given)
        case UniqueKey():
            return Unique(given.key, given.window_seconds, given.on_conflict)


class JobErrorBody(BaseModel):
    """Why a job failed or expired."""

    code: str
    message: str
    step: str | None
    retryable: bool

    @classmethod
    def of(cls, error: dict[str, Any] | None) -> "JobErrorBody | None":
        """An error as it is stored."""
        return None if error is None else cls(**error)


class ProgressBody(BaseModel):
    """How far a job is, where its workflow tells."""

    done: int
    total: int
    label: str | None

    @classmethod
    def of(cls, progress: dict[str, Any] | None) -> "ProgressBody | None":
        """Progress as it is stored."""
        return None if progress is None else cls(**progress)


class UsageBody(BaseModel):
    """What a job has used so far, over all tries. Input includes cached, output includes reasoning."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    reasoning_tokens: int
    model_calls: int
    tool_calls: int = Field(
        description="Calls of tools that recorded steps took, repeated ones too."
    )
    cost: Money

    @classmethod
    def of(cls, used: Used) -> "UsageBody":
        """From the sums of its usage lines and of its steps."""
        return cls(
            input_tokens=used.input_tokens, output_tokens=used.output_tokens,
            cached_tokens=used.cached_tokens, reasoning_tokens=used.reasoning_tokens,
            model_calls=used.calls, tool_calls=used.tool_calls, cost=money.to_wire(used.cost_nanousd),
        )  # fmt: skip


class ProvenanceBody(BaseModel):
    """How a result came about."""

    workflow_version: int
    prompts: list[str]
    models: list[str]
    routes: list[str]
    corpus: dict[str, int] = Field(description="Collections read, at which version.")
    cache: dict[str, int] = Field(description="Steps by what the cache said.")
    tools: list[str] = Field(description="The tools called, as name@version.")
    policy: str | None = Field(
        description="Version of the policy bundle in force: null, as there are none."
    )
    release: Literal["stable", "canary"]


class LinksBody(BaseModel):
    """Where to go from here."""

    self: str
    events: str
    steps: str
    receipt: str
    cancel: str
    retry: str

    @classmethod
    def of(cls, job: str) -> "LinksBody":
        """Of a job by its public id."""
        at = f"/v1/jobs/{job}"
        return cls(
            self=at, events=f"{at}/events", steps=f"{at}/steps", receipt=f"{at}/receipt",
            cancel=f"{at}/cancel", retry=f"{at}/retry",
        )  # fmt: skip


class JobBody(BaseModel):
    """A job."""

    model_config = ConfigDict(json_schema_extra={"examples": [JOB_EXAMPLE]})

    id: str
    object: Literal["job"] = "job"
    workflow: str
    workflow_version: int
    status: StatusOut
    waiting_for: str | None
    lane: LaneOut
    priority: int
    input: dict[str, Any]
    output: Any
    error: JobErrorBody | None
    attempts: int
    run: int = Field(description="1, and one more with each retry.")
    progress: ProgressBody | None
    usage: UsageBody
    max_cost: Money | None
    max_attempts: int
    metadata: dict[str, Any]
    tags: list[str]
    end_user: str | None
    session: str | None
    created_at: Moment
    run_at: Moment | None
    started_at: Moment | None
    finished_at: Moment | None
    deadline_at: Moment | None
    cancel_requested_at: Moment | None
    queue_position: int | None = Field(
        description="Place among the tenant's jobs of this lane, from 1, counted up to 10,000; null "
        "where it isn't queued, in lists, and in the answer to its admission."
    )
    estimated_start_at: Moment | None = Field(
        description="When it may start, by how fast the tenant's work of this lane left the queue in the "
        "last minutes: an estimate. Null where `queue_position` is, and where nothing left it lately."
    )
    provenance: ProvenanceBody
    links: LinksBody

    @classmethod
    def of(cls, view: JobView) -> "JobBody":
        """A job as it was read."""
        job, id_ = view.job, ids.wire("job", view.job.id)
        return cls(
            id=id_, workflow=job.workflow, workflow_version=job.version_number,
            status=states.SHOWN[job.state], waiting_for=job.waiting_for, lane=job.shown_lane,
            priority=job.priority, input=job.input, output=job.output,
            error=JobErrorBody.of(job.error), attempts=job.attempts, run=job.run,
            progress=ProgressBody.of(job.progress), usage=UsageBody.of(view.used),
            max_cost=None if job.max_cost_nanousd is None else money.to_wire(job.max_cost_nanousd),
            max_attempts=job.max_attempts, metadata=job.job_metadata, tags=job.tags,
            end_user=job.end_user, session=job.session, created_at=job.created_at,
            run_at=job.run_at, started_at=job.started_at, finished_at=job.finished_at,
            deadline_at=job.deadline_at, cancel_requested_at=job.cancel_requested_at,
            queue_position=view.queue_position, estimated_start_at=view.estimated_start_at,
            provenance=_provenance(job.version_number, view.provenance), links=LinksBody.of(id_),
        )  # fmt: skip

    @classmethod
    def admitted(cls, spec: JobSpec, admitted: Admitted) -> "JobBody":
        """A job that this request has made: all of it is known without a read."""
        id_ = ids.wire("job", admitted.job)
        return cls(
            id=id_, workflow=spec.workflow, workflow_version=admitted.version_number,
            status="queued" if spec.run_at is None else "scheduled", waiting_for=None,
            lane=spec.lane, priority=spec.priority, input=spec.input, output=None, error=None,
            attempts=0, run=1, progress=None, usage=_UNUSED,
            max_cost=None if spec.max_cost_nanousd is None else money.to_wire(spec.max_cost_nanousd),
            max_attempts=admitted.max_attempts, metadata=spec.metadata,
            tags=list(spec.tags), end_user=spec.end_user, session=spec.session,
            created_at=admitted.at, run_at=spec.run_at, started_at=None, finished_at=None,
            deadline_at=spec.deadline_at, cancel_requested_at=None, queue_position=None,
            estimated_start_at=None,
            provenance=_unborn(admitted.version_number), links=LinksBody.of(id_),
        )  # fmt: skip


# A job that was admitted just now has used nothing and has no history: made once, not once a request.
_UNUSED: Final = UsageBody.of(Used())


@lru_cache(maxsize=1_000)
def _unborn(version_number: int) -> ProvenanceBody:
    return _provenance(version_number, Provenance())


def _provenance(version_number: int, found: Provenance) -> ProvenanceBody:
    return ProvenanceBody(
        workflow_version=version_number, prompts=found.prompts, models=found.models,
        routes=found.routes, corpus=found.corpus, cache=found.cache, tools=found.tools, policy=None,
        release=RELEASE,
    )  # fmt: skip
