"""What a server's answer says: a completion with its usage, or what went wrong, pure.

Shapes: OpenAI's chat completions, and the fields by which other providers' usage differs from it.
"""

import json
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from app.core import redaction
from app.llm.errors import ContextTooLong, ProviderFailed, Served
from app.usage.pricing import Tokens

SHOWN: Final = 500  # characters of a provider's message that are kept
RETRYABLE: Final = frozenset({408, 409, 425, 429})  # and every 5xx
LONGEST_RETRY_AFTER: Final = 3600.0  # seconds; a provider that asks for more is asked again by then

# How providers word it: OpenAI, Anthropic, Bedrock, llama.cpp, vLLM.
_TOO_LONG: Final = re.compile(
    r"context[ _](?:length|limit|size|window)|prompt is too long|maximum context|input is too long"
    r"|exceeds? (?:the )?(?:available |maximum )?context",
    re.IGNORECASE,
)
_TOO_LONG_CODES: Final = frozenset({"context_length_exceeded", "exceed_context_size_error"})
# Errors inside a 200 carry a word instead of a status.
_STATUS_OF: Final = {
    "rate_limit_error": 429, "rate_limit_exceeded": 429, "insufficient_quota": 429,
    "overloaded_error": 529, "server_error": 500, "api_error": 500,
    "invalid_request_error": 400, "authentication_error": 401, "permission_error": 403,
    "not_found_error": 404, "request_too_large": 413,
}  # fmt: skip
_BAD_GATEWAY: Final = 502
_NONSENSE: Final = 2**31  # tokens; no call has so many, and its cost would not fit the books
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")  # neither jsonb nor UTF-8 takes them


@dataclass(frozen=True, slots=True)
class Completion:
    """A usable answer. `tokens` is None where the server sent no usage."""

    text: str
    finish: str
    tokens: Tokens | None


def read(
    content: bytes, headers: Mapping[str, str], now: datetime, secrets: Collection[str] = ()
) -> Completion:
    """The completion in a 200. Raises ProviderFailed or ContextTooLong for anything else that came as one."""
    body = _parsed(content)
    if not isinstance(body, dict):  # cut off, an HTML page, not UTF-8
        raise _useless("an answer that is not a JSON object", None)
    tokens = usage(body.get("usage"))
    if body.get("error"):
        error = body["error"]
        raise failure(_status_within(error), body, headers, now, secrets, tokens)
    match body.get("choices"):
        case [{"message": {"content": str(text)}, **choice}, *_]:
            finish = choice.get("finish_reason")
            return Completion(storable(text), finish if isinstance(finish, str) else "stop", tokens)
        case _:
            raise _useless("an answer without a text", tokens)


def failure(
    status: int,
    body: Any,
    headers: Mapping[str, str],
    now: datetime,
    secrets: Collection[str] = (),
    tokens: Tokens | None = None,
) -> ProviderFailed | ContextTooLong:
    """What an error status means. A redirect, 429 and the other 4xx prove that nothing was served; 408
    doesn't: it may come from a proxy in front of a model that goes on."""
    code, said = _said(body)
    said = redaction.scrub(said, secrets)[:SHOWN]
    if status == 413 or code in _TOO_LONG_CODES or _TOO_LONG.search(said):
        return ContextTooLong(f"The prompt does not fit the model's window: {said}".rstrip(": "))
    served: Served = "no" if 300 <= status < 500 and status != 408 else "unknown"
    return ProviderFailed(
        f"The provider answered {status}: {said}".rstrip(": "),
        retryable=status in RETRYABLE or status >= 500,
        served="proven" if tokens is not None else served,
        status=status,
        retry_after_seconds=retry_after(headers, now),
        tokens=tokens,
    )


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """How many seconds a provider asks to wait: `retry-after-ms`, else `Retry-After` in seconds or as a
    date (RFC 9110, 10.2.3). None where there is neither, or nonsense, or a moment gone by."""
    waits = (
        _number(headers.get("retry-after-ms"), 1_000),
        _seconds(headers.get("retry-after"), now),
    )
    wait = next((one for one in waits if one is not None), None)
    return None if wait is None else min(wait, LONGEST_RETRY_AFTER)


def usage(counts: Any) -> Tokens | None:
    """Tokens from a usage object of any provider, parts within their whole; None where it is no usage.

    OpenAI counts cached tokens within the prompt and reasoning within the completion; Anthropic counts
    cache reads and writes beside the input; some count reasoning beside the completion, which shows
    in their total.
    """
    if not isinstance(counts, dict):
        return None
    given = _count(counts, "prompt_tokens", "input_tokens")
    spoken = _count(counts, "completion_tokens", "output_tokens")
    if given is None or spoken is None or given + spoken == 0:
        return None
    within = _details(counts, "prompt_tokens_details", "input_tokens_details")
    thought = _details(counts, "completion_tokens_details", "output_tokens_details")
    reasoning = _count(thought, "reasoning_tokens") or 0
    beside = given + spoken + reasoning == _count(counts, "total_tokens")
    if reasoning > spoken or (reasoning and beside):
        spoken += reasoning
    read_, written = (
        _count(counts, "cache_read_input_tokens"),
        _count(counts, "cache_creation_input_tokens"),
    )
    if read_ is not None or written is not None:
        cached, cache_write = read_ or 0, written or 0
        given += cached + cache_write
    else:
        cached = min(_count(within, "cached_tokens") or 0, given)
        cache_write = min(_count(within, "cache_write_tokens") or 0, given - cached)
    return Tokens(
        input=given, output=spoken, cached=cached, cache_write=cache_write, reasoning=reasoning
    )


def storable(text: str) -> str:
    """The text with what no database takes (NUL, lone surrogates) replaced."""
    return _UNSTORABLE.sub("\ufffd", text)


def _parsed(content: bytes) -> Any:
    """The data, or None where it is no JSON. Its error holds the whole text: it ends here."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _useless(what: str, tokens: Tokens | None) -> ProviderFailed:
    return ProviderFailed(
        f"The provider sent {what}.",
        retryable=True,
        served="unknown" if tokens is None else "proven",
        status=200,
        tokens=tokens,
    )


def _said(body: Any) -> tuple[str, str]:
    """Code and message of an error body, whatever its shape."""
    error = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(error, dict):
        codes = [one for one in (error.get("code"), error.get("type")) if isinstance(one, str)]
        message = error.get("message")
        known = next((one for one in codes if one in _TOO_LONG_CODES), "")
        return known, storable(message) if isinstance(message, str) else ""
    return "", storable(error) if isinstance(error, str) else ""


def _status_within(error: Any) -> int:
    """The status of an error that came inside a 200; a bad gateway answer where it doesn't say."""
    if not isinstance(error, dict):
        return _BAD_GATEWAY
    for value in (error.get("code"), error.get("status"), error.get("type")):
        number = int(value) if isinstance(value, str) and value.isdecimal() else value
        if isinstance(number, int) and 400 <= number < 600:
            return number
        if isinstance(value, str) and value in _STATUS_OF:
            return _STATUS_OF[value]
    return _BAD_GATEWAY


def _number(text: str | None, per_second: float) -> float | None:
    try:
        value = float(text or "") / per_second
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _seconds(text: str | None, now: datetime) -> float | None:
    number = _number(text, 1)
    if number is not None or text is None:
        return number
    try:
        wait = (parsedate_to_datetime(text) - now).total_seconds()
    except (ValueError, TypeError):  # no date, or one without a zone
        return None
    return wait if wait > 0 else None


def _count(counts: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = counts.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _NONSENSE:
            return value
    return None


def _details(counts: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        value = counts.get(name)
        if isinstance(value, dict):
            return value
    return {}
