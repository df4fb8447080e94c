"""Settings of model calls."""

from datetime import timedelta
from typing import Literal

from pydantic import BaseModel, PositiveInt, SecretStr


class Route(BaseModel, frozen=True, extra="forbid"):
    """One model at one OpenAI-compatible address. Provider and model are its names in the price book."""

    provider: str
    model: str
    base_url: str
    api_key: SecretStr | None = None
    headers: dict[str, SecretStr] = {}  # sent with every call, for gateways that want their own
    query: dict[str, SecretStr] = {}
    context_tokens: PositiveInt = 128_000  # prompt and answer together
    max_calls: PositiveInt = (
        1_000  # at once from one process; more wait, with nothing held for them
    )
    limit_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"

    @property
    def name(self) -> str:
        """How the route is shown."""
        return f"{self.provider}/{self.model}"

    @property
    def secrets(self) -> list[str]:
        """What must never be shown: longest first, so that none hides a part of another."""
        held = [*self.headers.values(), *self.query.values()]
        if self.api_key is not None:
            held.append(self.api_key)
        return sorted((one.get_secret_value() for one in held), key=len, reverse=True)


class LlmConfig(BaseModel, frozen=True, extra="forbid"):
    """Which models there are, cheapest first, and how patient a call is.

    `provider`, `model`, `base_url` and `api_key` are the first rung, by default the embedded model;
    `routes` are the rungs above it.
    """

    provider: str = "local"
    model: str = "smollm2-135m"
    base_url: str | None = None  # None: the embedded server's, which the composition root knows
    api_key: SecretStr | None = None
    context_tokens: PositiveInt = 2048  # of one slot of the embedded server
    max_calls: PositiveInt = 1_000  # where the embedded server answers, a few times its slots
    routes: tuple[Route, ...] = ()
    connect_timeout: timedelta = timedelta(seconds=10)  # a burst of 1,000 connects takes 2 s
    total_timeout: timedelta = timedelta(seconds=120)  # a long answer of the small model takes 20 s
    retries: int = 2  # more would hold a slot; the job itself is retried later
    patience: timedelta = timedelta(seconds=2)  # a longer wait parks the job
    connections: PositiveInt = (
        2_000  # a worker process has up to 1,000 calls in flight, and retries
    )
    known_for: timedelta = timedelta(seconds=1)  # how late prices and the kill switch may be seen

    def ladder(self, embedded_url: str | None = None) -> tuple[Route, ...]:
        """The routes, cheapest first. `embedded_url` is where the embedded model answers."""
        base_url = self.base_url or embedded_url
        if base_url is None:
            return self.routes
        first = Route(
            provider=self.provider, model=self.model, base_url=base_url, api_key=self.api_key,
            context_tokens=self.context_tokens, max_calls=self.max_calls,
        )  # fmt: skip
        return (first, *self.routes)
