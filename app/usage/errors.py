"""Errors of the usage room."""

from app.core.errors import TowpathError


class UnpricedModel(TowpathError):
    """The model has no price in force: it is refused, never free. Context: provider, model."""

    code = "unpriced_model"
