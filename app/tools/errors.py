"""Errors of tools. `retryable`: the same call may succeed later."""

from typing import Any

from app.core.errors import TowpathError


class ToolFailed(TowpathError):
    """A tool gave no result, and its call had no effect. Context: tool. What custom tools raise themselves."""

    code = "tool_failed"

    def __init__(self, message: str = "", *, retryable: bool = False, **context: Any) -> None:
        super().__init__(message, **context)
        self.retryable = retryable


class ToolInDoubt(TowpathError):
    """Whether an unsafe call had its effect isn't known: a person decides. Context: tool."""

    code = "tool_in_doubt"


class ToolTimedOut(TowpathError):
    """A tool was cut off at its time limit. Context: tool, timeout_seconds."""

    code = "tool_timed_out"
    retryable = True


class ToolCrashed(TowpathError):
    """A tool broke off with a fault of its own code. Context: tool."""

    code = "tool_crashed"
    retryable = True


class UnknownTool(TowpathError):
    """This process has no such tool; a worker of another version may. Context: tool."""

    code = "unknown_tool"
    retryable = True


class ToolArgumentsInvalid(TowpathError):
    """The arguments don't fit a tool's schema: it was not called. Context: tool, errors."""

    code = "tool_arguments_invalid"


class ToolNotAllowed(TowpathError):
    """The tenant's grant doesn't allow these arguments: the tool was not called. Context: tool, errors."""

    code = "tool_not_allowed"


class ToolOutputInvalid(TowpathError):
    """A tool's result doesn't fit its own schema, or isn't JSON. Context: tool."""

    code = "tool_output_invalid"


class ToolOutputTooLarge(TowpathError):
    """A tool's result is over its cap: nothing of it is kept. Context: tool, size_bytes, limit_bytes."""

    code = "tool_output_too_large"
