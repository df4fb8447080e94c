"""The one family of errors that end a request or an attempt."""

from typing import Any, ClassVar


class TowpathError(Exception):
    """A refusal with a public, permanent `code`. Context is safe to show: no secret, no customer text."""

    code: ClassVar[str] = "internal_error"
    retryable: bool = False  # the same again may succeed

    def __init__(self, message: str = "", **context: Any) -> None:
        super().__init__(message or (type(self).__doc__ or "").split("\n")[0])
        self.message = str(self)
        self.context = context


class NotFound(TowpathError):
    """No such object for this caller."""

    code = "not_found"


class Invalid(TowpathError):
    """The input does not fit. `errors` holds {pointer, message} for each fault."""

    code = "validation_failed"

    def __init__(self, message: str, *, errors: list[dict[str, str]] | None = None) -> None:
        super().__init__(message, errors=errors or [])

    @classmethod
    def at(cls, pointer: str, message: str) -> "Invalid":
        """One fault at one JSON Pointer."""
        return cls(message, errors=[{"pointer": pointer, "message": message}])


class Unavailable(TowpathError):
    """Something this needs is out of reach; try again after `retry_after` seconds."""

    code = "unavailable"
