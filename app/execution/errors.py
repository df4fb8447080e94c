"""Errors of the execution room."""

from app.core.errors import TowpathError


class StepFailed(TowpathError):
    """A step can't give a result with these arguments. Context: step."""

    code = "step_failed"


class StepTimedOut(TowpathError):
    """A step took longer than its `timeout_seconds`. Context: step."""

    code = "step_timeout"
    retryable = True


class ResultTooLarge(TowpathError):
    """A step's result, or a job's output, is over the limit. Context: step, size_bytes, limit_bytes."""

    code = "payload_too_large"
