"""Errors of the workflows room."""

from app.core.errors import TowpathError


class UnknownWorkflow(TowpathError):
    """No such workflow or version. Context: workflow."""

    code = "unknown_workflow"


class ExpressionFailed(TowpathError):
    """An expression of the definition doesn't fit the data it met. Context: expression."""

    code = "expression_failed"
