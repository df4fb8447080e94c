"""Errors of the scheduling room."""

from app.core.errors import TowpathError


class NotLeading(TowpathError):
    """Another dispatcher has raised the shard's epoch: this one must stop."""

    code = "not_leading"
