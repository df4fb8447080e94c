"""What follows from a try: the schedule, what ends it, and what the receiver may ask for."""

import random
from datetime import timedelta

import pytest
from typing_extensions import override

from app.core.http import Sent
from app.webhooks import retries


class Fixed(random.Random):
    """Jitter as arranged: -1, 0 or 1 times its width."""

    def __init__(self, place: float) -> None:
        super().__init__(0)
        self.place = place

    @override
    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2 + self.place * (b - a) / 2


def answered(status: int, retry_after: int | None = None) -> Sent:
    return Sent(status, None, retry_after, 3)


def test_the_schedule_is_eight_tries_and_then_failed_with_the_reason() -> None:
    verdicts = [retries.after(tries, answered(500), Fixed(0)) for tries in range(1, 9)]
    minutes = [5 / 60, 5, 30, 120, 300, 600, 600]
    assert [one.delay for one in verdicts[:7]] == [timedelta(minutes=m) for m in minutes]
    assert {(one.state, one.reason) for one in verdicts[:7]} == {("pending", "status 500")}
    assert verdicts[7].state == "failed"
    assert verdicts[7].reason == "status 500; given up after 8 tries"


def test_the_delay_is_spread_by_a_fifth_either_way() -> None:
    shortest = retries.after(2, answered(500), Fixed(-1)).delay
    longest = retries.after(2, answered(500), Fixed(1)).delay
    assert (shortest, longest) == (timedelta(minutes=4), timedelta(minutes=6))


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_any_status_of_the_two_hundreds_delivers(status: int) -> None:
    assert retries.after(8, answered(status), Fixed(0)) == retries.Verdict("delivered")


@pytest.mark.parametrize("status", [100, 199, 301, 302, 307, 308, 400, 401, 404, 409, 500, 503])
def test_any_other_status_is_tried_again(status: int) -> None:
    assert retries.after(1, answered(status), Fixed(0)).state == "pending"


def test_c101_a_redirect_says_so() -> None:
    verdict = retries.after(1, answered(302), Fixed(0))
    assert verdict.reason == "redirect (302), which is never followed"


def test_c106_gone_ends_it_at_the_first_try() -> None:
    verdict = retries.after(1, answered(410), Fixed(0))
    assert (verdict.state, verdict.gone) == ("failed", True)


def test_no_answer_keeps_its_reason() -> None:
    verdict = retries.after(1, Sent(None, "no answer within 15 s", None, 15_000), Fixed(0))
    assert (verdict.state, verdict.reason) == ("pending", "no answer within 15 s")


@pytest.mark.parametrize(
    ("status", "tries", "asked", "seconds"),
    [
        (429, 1, 30, 30),  # later than the schedule: honoured
        (503, 1, 30, 30),
        (429, 1, 0, 5),  # sooner: the schedule holds
        (429, 2, 30, 300),
        (503, 1, 10**11, 86_400),  # not for ever
    ],
)
def test_c106_retry_after_is_honoured(status: int, tries: int, asked: int, seconds: int) -> None:
    verdict = retries.after(tries, answered(status, asked), Fixed(0))
    assert verdict.delay == timedelta(seconds=seconds)
