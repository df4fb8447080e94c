"""What we sign, the reference library of Standard Webhooks verifies."""

import base64
from datetime import timedelta

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from app.core import clock
from app.webhooks import signing

EVENT = "evt_01kbz3y8w0e2rv6f1q9hd5m7xa"
# C108: bytes that writing JSON again would change.
BODY = '{"b": 1.0, "a": 1e2, "s": "é \u2028 \\u2028"}'.encode()


def verify(secret: str, headers: dict[str, str], body: bytes = BODY) -> None:
    Webhook(secret).verify(body, headers, json_parse=False)


def test_c108_the_reference_library_verifies_the_raw_bytes() -> None:
    secret = signing.new_secret()
    headers = signing.headers(EVENT, clock.now(), BODY, [secret])
    verify(secret, headers)
    assert headers["webhook-id"] == EVENT


def test_c108_during_a_rotation_both_secrets_verify() -> None:
    new, old = signing.new_secret(), signing.new_secret()
    headers = signing.headers(EVENT, clock.now(), BODY, [new, old])
    assert len(headers["webhook-signature"].split(" ")) == 2
    verify(new, headers)
    verify(old, headers)


@pytest.mark.parametrize("broken", ["secret", "body", "id", "timestamp", "age"])
def test_c108_anything_else_is_refused(broken: str) -> None:
    secret, body = signing.new_secret(), BODY
    at = clock.now() - timedelta(hours=6 if broken == "age" else 0)
    headers = signing.headers(EVENT, at, BODY, [secret])
    if broken == "secret":
        secret = signing.new_secret()
    elif broken == "body":
        body = BODY.replace(b"1e2", b"100")
    elif broken == "id":
        headers["webhook-id"] = EVENT.replace("evt", "evx")
    elif broken == "timestamp":
        headers["webhook-timestamp"] = str(int(headers["webhook-timestamp"]) + 1)
    with pytest.raises(WebhookVerificationError):
        verify(secret, headers, body)


def test_secrets_have_the_length_and_form_of_the_standard() -> None:
    one, other = signing.new_secret(), signing.new_secret()
    assert one != other
    assert one.startswith("whsec_")
    assert 24 <= len(base64.b64decode(one.removeprefix("whsec_"))) <= 64
