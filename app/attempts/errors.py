"""Errors of the attempts room."""

from app.core.errors import TowpathError


class AttemptLost(TowpathError):
    """The attempt is no longer the current one: its worker was presumed dead, or the job was ended."""

    code = "attempt_lost"
