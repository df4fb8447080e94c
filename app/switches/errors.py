"""Refusals by a lever."""

from app.core.errors import TowpathError


class Disabled(TowpathError):
    """An operator has switched this off. Context: switch."""

    code = "disabled"


class Draining(TowpathError):
    """An operator lets this run dry: nothing of it is admitted. Context: scope, name, retry_after."""

    code = "draining"
