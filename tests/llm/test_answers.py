"""What a provider's answer means, pure."""

import json
from datetime import timedelta
from typing import Any

import pytest

from app.core import clock
from app.llm import answers
from app.llm.errors import ContextTooLong, ProviderFailed
from app.usage.pricing import Tokens

NOW = clock.now().replace(microsecond=0)
GOOD = {"choices": [{"message": {"content": "ten"}, "finish_reason": "stop"}]}


def read(body: Any, **headers: str) -> answers.Completion:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return answers.read(content, headers, NOW)


def failed(body: Any) -> ProviderFailed:
    with pytest.raises(ProviderFailed) as caught:
        read(body)
    return caught.value


def test_a_completion_is_read_with_its_usage() -> None:
    usage = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
    assert read(GOOD | {"usage": usage}) == answers.Completion(
        "ten", "stop", Tokens(input=7, output=1)
    )


@pytest.mark.parametrize(
    "usage", [None, {}, {"prompt_tokens": None}, {"prompt_tokens": "7", "completion_tokens": 1},
              {"prompt_tokens": 0, "completion_tokens": 0}, {"prompt_tokens": -7, "completion_tokens": 1},
              {"prompt_tokens": 10**18, "completion_tokens": 1}, "many"],
)  # fmt: skip
def test_usage_that_is_none_is_not_invented(usage: Any) -> None:
    """C071"""
    assert read(GOOD | {"usage": usage}).tokens is None


@pytest.mark.parametrize(
    "body",
    [
        b"<!doctype html><title>Bad gateway</title>",
        b'{"choices": [{"message": {"content": "te',
        b'{"choices": [{"message": {"content": "\xc3',
        b"[]",
        b"[" * 100_000,
        b"",
        json.dumps({"choices": None}).encode(),
        json.dumps({"choices": []}).encode(),
        json.dumps({"choices": [{"message": {"content": None}}]}).encode(),
        json.dumps({"choices": "ten"}).encode(),
    ],
)
def test_a_200_without_a_completion_is_a_bad_answer_and_proves_nothing(body: bytes) -> None:
    """C048, C049"""
    failure = failed(body)
    assert (failure.retryable, failure.served, failure.tokens) == (True, "unknown", None)


def test_a_useless_answer_with_usage_proves_what_it_cost() -> None:
    failure = failed({"choices": [], "usage": {"prompt_tokens": 50, "completion_tokens": 80}})
    assert (failure.served, failure.tokens) == ("proven", Tokens(input=50, output=80))


@pytest.mark.parametrize(
    ("error", "status", "retryable", "served"),
    [
        ({"code": 429, "message": "limit"}, 429, True, "no"),
        ({"code": "429", "message": "limit"}, 429, True, "no"),
        ({"type": "rate_limit_error"}, 429, True, "no"),
        ({"type": "overloaded_error"}, 529, True, "unknown"),
        ({"type": "invalid_request_error"}, 400, False, "no"),
        ({"message": "something"}, 502, True, "unknown"),
        ("something", 502, True, "unknown"),
    ],
)
def test_an_error_inside_a_200_counts_as_what_it_says(
    error: Any, status: int, retryable: bool, served: str
) -> None:
    """C046, C049"""
    failure = failed({"error": error, "choices": None})
    assert (failure.status, failure.retryable, failure.served) == (status, retryable, served)


@pytest.mark.parametrize(
    ("status", "retryable", "served"),
    [
        (302, False, "no"), (400, False, "no"), (401, False, "no"), (403, False, "no"), (404, False, "no"),
        (408, True, "unknown"), (409, True, "no"), (422, False, "no"), (429, True, "no"),
        (500, True, "unknown"), (502, True, "unknown"), (503, True, "unknown"), (529, True, "unknown"),
    ],
)  # fmt: skip
def test_a_status_says_whether_to_try_again_and_whether_it_was_served(
    status: int, retryable: bool, served: str
) -> None:
    failure = answers.failure(status, {"message": "no"}, {}, NOW)
    assert isinstance(failure, ProviderFailed)
    assert (failure.retryable, failure.served) == (retryable, served)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"code": "context_length_exceeded", "message": "too many"}}),
        (400, {"error": {"message": "prompt is too long: 209303 tokens > 200000 maximum"}}),
        (400, {"error": {"message": "input length and max_tokens exceed context limit"}}),
        (400, {"message": "the prompt is longer than the model's context length"}),
        (400, {"error": {"code": 400, "type": "exceed_context_size_error", "message": "4031 > 2048"}}),
        (413, "request entity too large"),
    ],
)  # fmt: skip
def test_however_it_is_worded_a_prompt_too_long_is_one_error(status: int, body: Any) -> None:
    """C058"""
    assert isinstance(answers.failure(status, body, {}, NOW), ContextTooLong)


def test_a_prompt_too_long_inside_a_200_is_the_same_error() -> None:
    """C058"""
    with pytest.raises(ContextTooLong):
        read(
            {
                "error": {
                    "code": 400,
                    "message": "This model's maximum context length is 8192 tokens",
                }
            }
        )


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": (NOW + timedelta(seconds=7)).strftime("%a, %d %b %Y %H:%M:%S GMT")}, 7.0),
        ({"retry-after": "7", "retry-after-ms": "250"}, 0.25),
        ({"retry-after": "7", "retry-after-ms": "soon"}, 7.0),
        ({"retry-after": (NOW - timedelta(days=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "tomorrow"}, None),
        ({"retry-after": "999999999"}, answers.LONGEST_RETRY_AFTER),
        ({}, None),
    ],
)  # fmt: skip
def test_how_long_a_provider_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    """C050"""
    assert answers.retry_after(headers, NOW) == seconds


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        pytest.param(
            {"prompt_tokens": 17_903, "completion_tokens": 100, "total_tokens": 18_003,
             "prompt_tokens_details": {"cached_tokens": 17_817}},
            Tokens(input=17_903, output=100, cached=17_817), id="C117: cached within"),
        pytest.param(
            {"input_tokens": 5, "output_tokens": 200, "cache_read_input_tokens": 128_955,
             "cache_creation_input_tokens": 1_253},
            Tokens(input=130_213, output=200, cached=128_955, cache_write=1_253), id="C117: cached beside"),
        pytest.param(
            {"prompt_tokens": 17, "completion_tokens": 482, "total_tokens": 499,
             "completion_tokens_details": {"reasoning_tokens": 448}},
            Tokens(input=17, output=482, reasoning=448), id="C118: thoughts within"),
        pytest.param(
            {"prompt_tokens": 17, "completion_tokens": 34, "total_tokens": 499,
             "completion_tokens_details": {"reasoning_tokens": 448}},
            Tokens(input=17, output=482, reasoning=448), id="C118: thoughts beside"),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 105, "total_tokens": 146,
             "completion_tokens_details": {"reasoning_tokens": 31}},
            Tokens(input=10, output=136, reasoning=31), id="C118: fewer thoughts beside"),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 136, "total_tokens": 146,
             "completion_tokens_details": {"reasoning_tokens": 31}},
            Tokens(input=10, output=136, reasoning=31), id="C118: 136, not 167"),
        pytest.param(
            {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 99}},
            Tokens(input=10, output=1, cached=10), id="more cached than given"),
    ],
)  # fmt: skip
def test_every_shape_of_usage_counts_each_token_once(usage: Any, tokens: Tokens) -> None:
    assert answers.usage(usage) == tokens


def test_what_no_database_stores_is_replaced() -> None:
    body = b'{"choices": [{"message": {"content": "a\\u0000b\\ud800c\\ud83d\\ude00"}}]}'
    assert read(body).text == "a\ufffdb\ufffdc\U0001f600"


def test_a_providers_message_is_kept_short_and_without_secrets() -> None:
    """C049, C142"""
    said = "Incorrect API key provided: sk-CANARY-1; own: hunter2-hunter2. " + "x" * 1_000
    failure = answers.failure(401, {"error": {"message": said}}, {}, NOW, ["hunter2-hunter2"])
    assert "Incorrect API key provided" in failure.message
    assert "CANARY" not in failure.message
    assert "hunter2" not in failure.message
    assert len(failure.message) < answers.SHOWN + 50
