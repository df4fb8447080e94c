"""What must never be read in a log, an error or a report is masked; what must be read stays."""

import json
import re
import time
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import redaction

SECRETS = {
    "our key": ("refused tp_9f8e7d6c5b4a39281706f5e4 for this", "tp_9f8e7d6c5b4a39281706f5e4"),
    "webhook secret": (
        "signed with whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    ),
    "provider key": ("Incorrect API key provided: sk-CANARY-1.", "sk-CANARY-1"),
    "key in a query": ("GET https://x.test/v1?model=a&key=CANARY12&b=2", "CANARY12"),
    "key in a header": ("{'Authorization': 'Bearer CANARY-HEADER'}", "CANARY-HEADER"),
    "bearer in prose": ("sent bearer CANARY-IN-PROSE-2 to it", "CANARY-IN-PROSE-2"),
    "password in a url": ("no route to postgresql://app:hunter22@db/x", "hunter22"),
    "assignment": ("connect failed: password=hunter22, host=db", "hunter22"),
    "json": ('{"api_key": "CANARY99"}', "CANARY99"),
    "token": ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl is it", "eyJzdWIiOiIxMjM0In0"),
    "private key": ("-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----", "MIIE"),
}


@pytest.mark.parametrize(("text", "secret"), SECRETS.values(), ids=SECRETS)
def test_a_secret_in_a_text_is_masked(text: str, secret: str) -> None:
    scrubbed = redaction.scrub(text)
    assert secret not in scrubbed
    assert redaction.MASK in scrubbed


@pytest.mark.parametrize(
    "text",
    [
        "job job_01kbz3y8w0e2rv6f1q9hd5m7xa of step stp_01kbz3y8w0e2rv6f1q9hd5m7xa failed",
        "input_tokens=120 output_tokens: 33, max_tokens: 5",
        "the risk-averse task-force asked the desk-mounted basic questions",
        "https://example.com/hooks/1?page=2 answered 500",
        "the idempotency key was reused",
    ],
)
def test_what_an_operator_needs_stays(text: str) -> None:
    assert redaction.scrub(text) == text


def test_a_known_secret_is_masked_wherever_it_stands() -> None:
    known = ("p@ss/word plain",)
    text = "tried p@ss/word plain and p%40ss%2Fword%20plain"
    assert redaction.scrub(text, known) == f"tried {redaction.MASK} and {redaction.MASK}"


def test_a_tree_is_masked_by_name_and_by_shape() -> None:
    tree = {
        "api_key": "anything",
        "Authorization": "x",
        "webhook_secret": {"nested": 1},
        "password": None,
        "input_tokens": 7,
        "list": ["sk-CANARY-1", ("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", 2.5)],
        "raw": b"sk-CANARY-1",
        "sk-CANARY-1": True,
    }
    shown = redaction.redact(tree)
    assert "CANARY" not in json.dumps(shown)
    assert "MfKQ" not in json.dumps(shown)
    assert shown["api_key"] == shown["Authorization"] == shown["webhook_secret"] == redaction.MASK
    assert shown["password"] is None
    assert shown["input_tokens"] == 7
    assert shown["list"][1] == [redaction.MASK, 2.5]


def test_what_is_too_deep_is_masked_whole() -> None:
    deep: object = "sk-CANARY-1"
    for _ in range(1_000):
        deep = {"a": deep}
    assert "CANARY" not in json.dumps(redaction.redact(deep))


@pytest.mark.parametrize("piece", ["a-", "eyJ", "token ", "x://", "authorization: ", "-----BEGIN "])
def test_a_hostile_text_takes_no_longer_than_its_length(piece: str) -> None:
    def seconds(size: int) -> float:
        text = piece * (size // len(piece))
        return min(_timed(text) for _ in range(3))

    # Ten times the text in ten times the time; a quadratic pattern would take a hundred times.
    assert seconds(200_000) < 40 * seconds(20_000)


def _timed(text: str) -> float:
    start = time.perf_counter()
    redaction.scrub(text)
    return time.perf_counter() - start


@pytest.mark.parametrize("pattern", [*redaction.SHAPES, *redaction.NAMED, redaction.NAMES])
def test_nothing_that_would_be_masked_is_passed_over(pattern: re.Pattern[str]) -> None:
    """Whatever a pattern finds is suspect: else the quick look would let it through."""

    @given(st.from_regex(pattern))
    def holds(text: str) -> None:
        assert redaction.suspect(text)

    holds()


@pytest.mark.parametrize(
    "value", ["p@ss/word plain", 'with "quotes"', "back\\slash1", "zwölfhundert"]
)
def test_a_known_secret_is_suspect_however_a_line_spells_it(value: str) -> None:
    spellings = redaction.spellings([value, "short"])
    for line in (
        json.dumps({"said": value}),
        json.dumps({"said": value}, ensure_ascii=False),
        quote(value, safe=""),
    ):
        assert redaction.suspect(line, spellings)
    assert not redaction.suspect(json.dumps({"said": "a short word"}), spellings)
