"""Refusals that only HTTP knows."""

from app.core.errors import TowpathError


class InvalidJson(TowpathError):
    """The body isn't strict JSON. Context: errors, one fault with its pointer."""

    code = "invalid_json"

    def __init__(self, message: str, pointer: str = "") -> None:
        super().__init__(message, errors=[{"pointer": pointer, "message": message}])


class PayloadTooLarge(TowpathError):
    """The body is larger than this route takes. Context: limit_bytes."""

    code = "payload_too_large"


class UnsupportedMediaType(TowpathError):
    """A body of this type or encoding isn't read here."""

    code = "unsupported_media_type"


class MethodNotAllowed(TowpathError):
    """The path is there, the method isn't."""

    code = "method_not_allowed"


class BadRequest(TowpathError):
    """The request can't be read as HTTP asks for."""

    code = "bad_request"


class IdempotencyKeyMissing(TowpathError):
    """This tenant requires an Idempotency-Key on every request that creates something."""

    code = "idempotency_key_missing"
