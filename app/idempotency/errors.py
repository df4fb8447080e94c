"""Refusals about idempotency keys."""

from app.core.errors import TowpathError


class IdempotencyKeyReused(TowpathError):
    """The key was used with another request."""

    code = "idempotency_key_reused"
