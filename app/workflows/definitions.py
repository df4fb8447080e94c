"""The language of workflows: steps in order, each with a condition; validated with a pointer to each fault."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Final, Literal

import jsonschema
from pydantic import BaseModel, Field, StringConstraints, ValidationError

from app.core.errors import Invalid
from app.tools import registry, tool
from app.tools.registry import Registry
from app.workflows import expressions
from app.workflows.retries import Retry

MAX_STEPS: Final = 100
MAX_LIMITS: Final = 8  # named resources of one workflow
MAX_BYTES: Final = 256 * 1024
MAX_SECONDS: Final = 30 * 86_400
MAX_DEPTH: Final = 64  # as of a request's body; a schema within it can't exhaust the stack
NAME: Final = r"^[a-z][a-z0-9_]{0,62}$"
WORKFLOW_NAME: Final = r"^[a-z][a-z0-9_.-]{0,62}$"
PROMPT: Final = r"^[a-z][a-z0-9_]*@[1-9][0-9]*$"
BYTES_A_TOKEN: Final = 4  # of English text, for predictions only: holds use a bound, not this
PROMPT_TOKENS: Final = 400  # a template with a passage in it, for predictions only

Name = Annotated[str, StringConstraints(pattern=NAME)]


class _Step(BaseModel, frozen=True, extra="forbid", populate_by_name=True):
    id: Name
    when: str | None = None
    timeout_seconds: float | None = Field(default=None, gt=0, le=MAX_SECONDS, allow_inf_nan=False)
    retry: Retry | None = None
    given: dict[str, Any] = Field(default_factory=dict, alias="in")


class ModelStep(_Step, frozen=True):
    """One completion: a prompt of the library, filled with `in`, on a rung of the ladder."""

    kind: Literal["model"]
    prompt: Annotated[str, StringConstraints(pattern=PROMPT)]
    max_tokens: int = Field(ge=1, le=100_000)
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    rung: int = Field(default=0, ge=0, le=9)
    stop: tuple[str, ...] = ()


class PlainStep(_Step, frozen=True):
    """A step whose arguments are all in `in`: a function of its kind's own module."""

    kind: Literal[
        "retrieve", "pick", "verify", "conclude", "condense", "split", "ingest", "cancel", "retry"
    ]  # fmt: skip


class TransformStep(_Step, frozen=True):
    """Its result is `value` with the expressions answered."""

    kind: Literal["transform"]
    value: Any


class ToolStep(_Step, frozen=True):
    """One call of a tool, with the arguments in `in`."""

    kind: Literal["tool"]
    tool: Annotated[str, StringConstraints(pattern=tool.NAME, max_length=tool.NAME_LENGTH)]


class MapStep(_Step, frozen=True):
    """The inner step once an item of `over`; its result is the list of theirs, in order."""

    kind: Literal["map"]
    over: str
    concurrency: int = Field(default=4, ge=1, le=1_000)
    max_items: int = Field(default=1_000, ge=1, le=10_000)
    step: Annotated["InnerStep", Field(discriminator="kind")]


InnerStep = ModelStep | TransformStep | ToolStep  # what a map may hold
SingleStep = InnerStep | PlainStep  # what runs by itself
AnyStep = Annotated[SingleStep | MapStep, Field(discriminator="kind")]


class ResourceLimit(BaseModel, frozen=True, extra="forbid"):
    """At most so many running jobs of the tenant at once use what is called `key`, whichever their workflow."""

    key: Annotated[str, StringConstraints(pattern=WORKFLOW_NAME)]
    max: int = Field(ge=1, le=1_000_000)


class Definition(BaseModel, frozen=True, extra="forbid"):
    """A workflow as data. `input` is the JSON Schema of a job's input.

    `concurrency` is the most of its jobs that run at once, `limits` of those that use a named resource.
    `timeout_seconds` is what a job may take from its start on, waits and retries included; `retry` holds
    for the steps that have none of their own.
    """

    name: Annotated[str, StringConstraints(pattern=WORKFLOW_NAME)]
    description: str = Field(default="", max_length=2_000)
    concurrency: int | None = Field(default=None, ge=1, le=1_000_000)
    limits: tuple[ResourceLimit, ...] = Field(default=(), max_length=MAX_LIMITS)
    timeout_seconds: int | None = Field(default=None, ge=1, le=MAX_SECONDS)
    retry: Retry | None = None
    input: dict[str, Any]
    steps: tuple[AnyStep, ...] = Field(min_length=1, max_length=MAX_STEPS)
    output: Any

    @property
    def max_attempts(self) -> int | None:
        """The tries that a job needs, for its policies to be used up. None: they don't say."""
        policies = (self.retry, *(step.retry for step in self.steps))
        return max((one.max_attempts for one in policies if one and one.max_attempts), default=None)


@dataclass(frozen=True, slots=True)
class Predicted:
    """Model calls that a job will probably make on one rung."""

    rung: int
    calls: int
    input_tokens: int
    output_tokens: int


def parse(raw: Any, tools: Registry | None = None) -> Definition:
    """A definition from JSON data, which may call these tools (None: the pure built-in ones).

    Raises Invalid with a pointer to each fault; nothing is guessed.
    """
    if _deeper_than(raw, MAX_DEPTH):
        raise Invalid.at("", f"A definition nests at most {MAX_DEPTH} levels.")
    if len(json.dumps(raw)) > MAX_BYTES:
        raise Invalid.at("", f"A definition has at most {MAX_BYTES} bytes.")
    try:
        definition = Definition.model_validate(raw)
    except ValidationError as error:
        faults = [
            {"pointer": _pointer(raw, fault["loc"]), "message": fault["msg"]}
            for fault in error.errors()
        ]
        raise Invalid("The definition doesn't fit the language.", errors=faults) from error
    faults = [*_faults(definition), *_tool_faults(definition, tools or registry.pure())]
    if faults:
        raise Invalid("The definition can't run.", errors=faults)
    return definition


def _deeper_than(raw: Any, limit: int) -> bool:
    level = [raw]
    for _ in range(limit):
        level = [
            part
            for value in level
            for part in (
                value.values()
                if isinstance(value, dict)
                else value
                if isinstance(value, list)
                else ()
            )
        ]
        if not level:
            return False
    return True


def stored(data: dict[str, Any]) -> Definition:
    """A definition that was validated when it was pushed."""
    return Definition.model_validate(data)


def _pointer(raw: Any, location: tuple[int | str, ...]) -> str:
    # Pydantic puts the tag of a union's member into the path; only what is in the data belongs to a pointer.
    parts, here = [], raw
    for place, part in enumerate(location):
        entered = place > 0 and (
            isinstance(location[place - 1], int) or location[place - 1] == "step"
        )
        if entered and isinstance(here, dict) and here.get("kind") == part:
            continue  # a tag, even where the data has a member of its name, as tool steps have
        inside = part in here if isinstance(here, dict) else isinstance(part, int)
        if inside:
            here = here[part]
        elif place + 1 < len(location):
            continue
        parts.append(str(part).replace("~", "~0").replace("/", "~1"))
    return "".join(f"/{part}" for part in parts)


def _faults(definition: Definition) -> Iterator[dict[str, str]]:
    try:
        jsonschema.Draft202012Validator.check_schema(definition.input)
    except jsonschema.SchemaError as error:
        yield {"pointer": "/input", "message": f"not a JSON Schema: {error.message}"}
    keys: set[str] = set()
    for place, limit in enumerate(definition.limits):
        if limit.key in keys:
            yield {"pointer": f"/limits/{place}/key", "message": f"a second limit of {limit.key}"}
        keys.add(limit.key)
    seen: set[str] = set()
    for place, step in enumerate(definition.steps):
        at = f"/steps/{place}"
        if step.id in seen:
            yield {"pointer": f"{at}/id", "message": f"a second step called {step.id}"}
        parts = {"when": step.when, "in": step.given}
        if isinstance(step, TransformStep):
            parts["value"] = step.value
        inside: dict[str, Any] = {}
        if isinstance(step, MapStep):
            parts["over"] = step.over
            inside = {"in": step.step.given}
            if isinstance(step.step, TransformStep):
                inside["value"] = step.step.value
            if step.step.when is not None:
                yield {
                    "pointer": f"{at}/step/when",
                    "message": "the inner step of a map has no condition",
                }
            if step.step.retry is not None:
                yield {
                    "pointer": f"{at}/step/retry",
                    "message": "a map is tried again as a whole: its policy is its own",
                }
        for name, part in parts.items():
            yield from _expression_faults(part, f"{at}/{name}", seen)
        for name, part in inside.items():
            yield from _expression_faults(part, f"{at}/step/{name}", seen)
        seen.add(step.id)
    yield from _expression_faults(definition.output, "/output", seen)


def _tool_faults(definition: Definition, tools: Registry) -> Iterator[dict[str, str]]:
    for place, step in enumerate(definition.steps):
        at = f"/steps/{place}"
        if isinstance(step, MapStep):
            step, at = step.step, f"{at}/step"  # noqa: PLW2901 - the step that calls
        if not isinstance(step, ToolStep):
            continue
        bound = tools.tools.get(step.tool)
        if bound is None:
            yield {"pointer": f"{at}/tool", "message": registry.fault(tools, step.tool)}
            continue
        named = list(registry.argument_faults(bound, step.given))
        for name, message in named:
            yield {"pointer": f"{at}/in" + (f"/{name}" if name else ""), "message": message}
        if named or _computed(step.given):
            continue  # what the values will be is known when the step runs
        for schema in (bound.input, bound.limits):
            for fault in schema.iter_errors(step.given) if schema is not None else ():
                where = "".join(f"/{part}" for part in fault.absolute_path)
                yield {"pointer": f"{at}/in{where}", "message": fault.message[:300]}


def _computed(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_computed, value.values()))
    if isinstance(value, list):
        return any(map(_computed, value))
    return isinstance(value, str) and value.startswith("=")


_REFERENCE: Final = re.compile(r"\bsteps\.([A-Za-z_][A-Za-z0-9_]*)")


def _expression_faults(value: Any, pointer: str, known: set[str]) -> Iterator[dict[str, str]]:
    if isinstance(value, str) and value.startswith("="):
        message = expressions.fault(value)
        if message is not None:
            yield {"pointer": pointer, "message": message}
            return
        for name in _REFERENCE.findall(value):
            if name not in known:
                yield {"pointer": pointer, "message": f"no earlier step is called {name}"}
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _expression_faults(part, f"{pointer}/{name}", known)
    elif isinstance(value, list):
        for place, part in enumerate(value):
            yield from _expression_faults(part, f"{pointer}/{place}", known)


@lru_cache(maxsize=1024)
def _validator(schema: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(schema))


def check_input(schema: str, data: Any) -> None:
    """A job's input against its workflow's schema (as JSON text). Raises Invalid with pointers under /input."""
    faults = [
        {
            "pointer": "/input" + "".join(f"/{part}" for part in fault.absolute_path),
            "message": fault.message[:300],
        }
        for fault in _validator(schema).iter_errors(data)
    ]
    if faults:
        raise Invalid("The input doesn't fit the workflow.", errors=faults)


def predict(definition: Definition, input_bytes: int) -> list[Predicted]:
    """What the model calls of one job will probably be: every step once, a map as often as its input is long."""
    given_tokens = input_bytes // BYTES_A_TOKEN
    calls = []
    for step in definition.steps:
        if isinstance(step, ModelStep):
            calls.append(Predicted(step.rung, 1, PROMPT_TOKENS, step.max_tokens))
        elif isinstance(step, MapStep) and isinstance(step.step, ModelStep):
            times = max(1, min(step.max_items, given_tokens // PROMPT_TOKENS + 1))
            calls.append(Predicted(step.step.rung, times, PROMPT_TOKENS, step.step.max_tokens))
    return calls
