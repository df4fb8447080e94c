"""What a tool says of itself, and what it is told at each call."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from app.core.ids import JobId, TenantId

NAME: Final = r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$"
NAME_LENGTH: Final = 63
OUTPUT_BYTES: Final = (
    256 * 1024
)  # a step's result may have 1 MiB; more than this belongs into files

# idempotent  made twice it is as if made once: made again whenever in doubt
# keyed       its far end refuses a second call under the same effect key: made again, under the same key
# unsafe      made twice it happens twice: never made again; in doubt, a person decides
Effect = Literal["idempotent", "keyed", "unsafe"]
EFFECTS: Final = ("idempotent", "keyed", "unsafe")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool. `effect_key` (job:step:item:turn) is the same over all attempts at the job."""

    arguments: dict[str, Any]
    tenant: TenantId
    job: JobId
    step: str
    item: int
    effect_key: str
    deadline: datetime  # the call is cut off then
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool: `run` gets a call with checked arguments and gives a JSON value, or raises errors.ToolFailed.

    `input` is the JSON Schema of the arguments, an object; `output` that of the result. Raises
    ValueError where a tool can't be what it says.
    """

    name: str
    version: str
    description: str
    input: dict[str, Any]
    run: Callable[[Call], Awaitable[Any]]
    effect: Effect
    output: dict[str, Any] = field(default_factory=dict)
    timeout: timedelta = timedelta(seconds=30)
    output_bytes: int = OUTPUT_BYTES

    def __post_init__(self) -> None:
        """Refuse at once what would fail at each call."""
        if not re.match(NAME, self.name) or len(self.name) > NAME_LENGTH:
            raise ValueError(f"{self.name!r} is no name of a tool: words such as crm.lookup")
        if self.effect not in EFFECTS:
            raise ValueError(f"effect is one of {', '.join(EFFECTS)}, not {self.effect!r}")
        if self.input.get("type") != "object":
            raise ValueError("input is the schema of an object")
        if not self.version or not self.description:
            raise ValueError("a tool has a version and a description")
        if self.timeout <= timedelta(0) or self.output_bytes < 1:
            raise ValueError("timeout and output_bytes are above 0")
