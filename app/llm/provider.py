"""One call of an OpenAI-compatible server, by OpenAI's SDK over aiohttp, its own retries off.

What the SDK raises never leaves here, not even as a cause: its errors hold requests, and requests hold
keys and prompts.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import aiohttp
import httpx2
import openai
from openai import AsyncOpenAI, DefaultAioHttpClient
from typing_extensions import override

from app.core import clock, tracing
from app.core.errors import TowpathError
from app.llm import answers
from app.llm.answers import Completion
from app.llm.config import LlmConfig, Route
from app.llm.errors import ProviderFailed

_KEEPALIVE: Final = 15.0  # seconds; below what common servers keep a silent connection for
_NO_KEY: Final = "none"  # the SDK insists on one; a server without keys ignores it

# Raised before a request left: certainly not served. The transport reports resets and disconnects as
# `ConnectTimeout`, too, so that its own exceptions prove nothing: aiohttp's beneath them do.
_UNSENT: Final = (
    aiohttp.ClientConnectorError,
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientProxyConnectionError,
)


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a model."""

    messages: Sequence[Mapping[str, str]]
    max_tokens: int
    temperature: float
    stop: tuple[str, ...]
    key: str  # sent as Idempotency-Key, for providers that honour it
    timeout: timedelta
    traceparent: str | None = None  # the trace it belongs to; each call gets a parent id of its own


@dataclass(frozen=True, slots=True)
class Provider:
    """One route, its client, and the calls it takes at once."""

    route: Route
    client: AsyncOpenAI
    slots: asyncio.Semaphore


class _Client(AsyncOpenAI):
    """The SDK's client. It joins and parses the same address for every call: a tenth of a call's CPU."""

    _address: httpx2.URL | None = None

    @override
    def _prepare_url(self, url: str) -> httpx2.URL:
        if self._address is None:  # there is one path, `complete`'s
            self._address = super()._prepare_url(url)
        return self._address


def open_provider(route: Route, config: LlmConfig) -> Provider:
    """A provider for this route; nothing is connected yet."""
    limits = httpx2.Limits(
        max_connections=config.connections,
        max_keepalive_connections=config.connections,
        keepalive_expiry=_KEEPALIVE,
    )
    connect = config.connect_timeout.total_seconds()
    transport = DefaultAioHttpClient(
        limits=limits,
        timeout=httpx2.Timeout(None, connect=connect),
        follow_redirects=False,  # the next host is not the one that the key is for
    )
    client = _Client(
        base_url=route.base_url,
        api_key=route.api_key.get_secret_value() if route.api_key else _NO_KEY,
        default_headers={name: one.get_secret_value() for name, one in route.headers.items()},
        default_query={name: one.get_secret_value() for name, one in route.query.items()},
        max_retries=0,
        http_client=transport,
    )
    client.organization = client.project = None  # else read from the environment, for every server
    return Provider(route, client, asyncio.Semaphore(route.max_calls))


async def complete(provider: Provider, request: Request) -> Completion:
    """One completion. Raises ProviderFailed, ContextTooLong; a cancelled call hangs up."""
    route = provider.route
    body: dict[str, Any] = {
        "model": route.model,
        "messages": request.messages,
        route.limit_field: request.max_tokens,
        "temperature": request.temperature,
    }
    if request.stop:
        body["stop"] = list(request.stop)
    headers = {"Idempotency-Key": request.key}
    if request.traceparent is not None:
        headers["traceparent"] = tracing.child(request.traceparent)
    failed: TowpathError
    try:
        async with asyncio.timeout(request.timeout.total_seconds()):
            response = await provider.client.post(
                "/chat/completions",
                cast_to=httpx2.Response,
                body=body,
                options={"headers": headers, "idempotency_key": request.key},
            )
    except openai.APIStatusError as error:
        response = error.response
        failed = answers.failure(
            response.status_code, error.body, response.headers, clock.now(), route.secrets
        )
    except (openai.APIConnectionError, httpx2.HTTPError, aiohttp.ClientError) as error:
        failed = _unconnected(error)
    except TimeoutError:
        failed = _lost(f"no answer within {request.timeout.total_seconds():g} s", sent=True)
    else:
        return answers.read(response.content, response.headers, clock.now(), route.secrets)
    raise failed  # out here, so that no error of the SDK is its context


def _unconnected(error: Exception) -> ProviderFailed:
    chain = list(_causes(error))
    if any(isinstance(one, _UNSENT) for one in chain):
        return _lost("it can't be reached", sent=False)
    if any(isinstance(one, TimeoutError) for one in chain):
        return _lost("it fell silent", sent=True)
    return _lost("the connection broke", sent=True)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def _lost(how: str, *, sent: bool) -> ProviderFailed:
    return ProviderFailed(
        f"The provider gave no answer: {how}.",
        retryable=True,
        served="unknown" if sent else "no",
    )
