"""What can be wrong with a prompt."""

from app.core.errors import TowpathError


class PromptUnknown(TowpathError):
    """The library has no such prompt. Context: prompt."""

    code = "prompt_unknown"


class PromptRefused(TowpathError):
    """The values don't fit the prompt: one is missing, none of its names, or all are too long."""

    code = "prompt_refused"
