"""Refusals of admission for what is there already."""

from app.core.errors import TowpathError


class QueueFull(TowpathError):
    """Too much of this tenant's waits in this lane. Context: lane, ceiling, retry_after (an estimate)."""

    code = "queue_full"


class Overloaded(TowpathError):
    """The platform has more work than it can carry; the lowest lanes go first. Context: lane, retry_after."""

    code = "overloaded"


class DuplicateJob(TowpathError):
    """Another job has this unique key, and it is not to be replaced. Context: job."""

    code = "duplicate_job"
