"""Refusals by a lever."""

from app.core.errors import TowpathError


class Disabled(TowpathError):
    """An operator has switched this off. Context: switch."""

    code = "disabled"
