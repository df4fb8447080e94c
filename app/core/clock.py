"""The moment in Python. What is stored comes from the database's app_now(), which tests may set."""

from datetime import UTC, datetime


def now() -> datetime:
    """The present in UTC, for what never reaches a table: headers, log lines, tokens."""
    return datetime.now(UTC)  # noqa: TID251 - the one place that asks the system clock


def wire(moment: datetime) -> str:
    """RFC 3339 in UTC with `Z`, in microseconds."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
