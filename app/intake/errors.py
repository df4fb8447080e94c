"""Refusals of admission for what waits already."""

from app.core.errors import TowpathError


class QueueFull(TowpathError):
    """Too much of this tenant's waits in this lane. Context: lane, ceiling, retry_after (an estimate)."""

    code = "queue_full"


class Overloaded(TowpathError):
    """The platform has more work than it can carry; the lowest lanes go first. Context: lane, retry_after."""

    code = "overloaded"
