"""Errors of model calls."""

from typing import Literal

from app.core.errors import TowpathError
from app.usage.pricing import Tokens

Served = Literal["no", "unknown", "proven"]


class ProviderFailed(TowpathError):
    """A provider gave no usable answer. Context: status, retryable.

    `served` says what is known of the request: certainly not served (nothing is owed), unknown, or
    proven by the usage in `tokens`. `retry_after_seconds` is what the provider asked for, if it did.
    """

    code = "provider_failed"

    def __init__(
        self,
        message: str,
        *,
        retryable: bool,
        served: Served,
        status: int | None = None,
        retry_after_seconds: float | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        super().__init__(message, status=status, retryable=retryable)
        self.retryable = retryable
        self.served = served
        self.status = status
        self.retry_after_seconds = retry_after_seconds
        self.tokens = tokens


class ContextTooLong(TowpathError):
    """The prompt doesn't fit a model's window. Context: counted_tokens, window_tokens."""

    code = "context_too_long"
