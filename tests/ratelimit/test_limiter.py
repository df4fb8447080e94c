"""Buckets in Valkey: what they let through, what they promise, and that the promise is kept."""

import asyncio
import time

import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.embedded import valkey as server
from app.embedded.valkey import Running as Valkey
from app.ratelimit.buckets import Local
from app.ratelimit.config import RatelimitConfig
from app.ratelimit.errors import LimitsUnavailable
from app.ratelimit.limiter import Limiter
from tests.ratelimit.conftest import PATIENT, Opened, draw, ticket
from tests.waiting import until


async def passed(seconds: float) -> None:
    """Return once so much time has passed: what a client does that honours Retry-After."""
    end = time.monotonic() + seconds

    async def over() -> bool:
        return time.monotonic() > end

    await until(over, seconds=seconds + 20)


async def test_a_burst_goes_through_and_what_is_left_is_told(limiter: Limiter) -> None:
    burst = draw("requests", 6, 3)
    left = [(await limiter.take([burst])).standings[0].remaining for _ in range(3)]
    refused = await limiter.take([burst])
    assert left == [2, 1, 0]
    assert not refused.allowed
    assert refused.limit == "requests"
    assert 9 < refused.wait_seconds <= 10
    assert 29 < refused.standings[0].reset_seconds <= 30


async def test_whoever_waits_as_told_is_served(limiter: Limiter) -> None:
    ten_a_second = [draw("requests", 600, 1)]
    await limiter.take(ten_a_second)
    refused = await limiter.take(ten_a_second, ticket("order-7"))
    assert 0 < refused.wait_seconds <= 0.1
    await passed(refused.wait_seconds)
    assert (await limiter.take(ten_a_second, ticket("order-7"))).allowed


@pytest.mark.parametrize("only", [True, False])
async def test_each_of_many_that_wait_as_told_is_served_whoever_comes_in_between(
    limiter: Limiter, only: bool
) -> None:
    hundred_a_second = [draw("requests", 6_000, 1)]
    names = [f"order-{n}" if only else "any" for n in range(31)]
    told = await asyncio.gather(
        *[limiter.take(hundred_a_second, ticket(name, only=only)) for name in names]
    )
    refused = [(name, one) for name, one in zip(names, told, strict=True) if not one.allowed]
    assert len(refused) == 30
    assert told[-1].wait_seconds > 0.2

    pushing = True

    async def push() -> None:
        while pushing:
            await limiter.take(hundred_a_second)

    pusher = asyncio.create_task(push())

    async def come_back(name: str, wait: float) -> bool:
        await passed(wait)
        return (await limiter.take(hundred_a_second, ticket(name, only=only))).allowed

    served = await asyncio.gather(*[come_back(name, one.wait_seconds) for name, one in refused])
    pushing = False
    await pusher
    assert served == [True] * 30


async def test_who_comes_back_too_early_hears_the_rest_of_its_wait(limiter: Limiter) -> None:
    one_a_minute = [draw("requests", 1, 1)]
    await limiter.take(one_a_minute)
    first = await limiter.take(one_a_minute, ticket("early"))
    again = [await limiter.take(one_a_minute, ticket("early")) for _ in range(5)]
    other = await limiter.take(one_a_minute, ticket("other"))
    assert 59 < first.wait_seconds <= 60
    assert all(59 < one.wait_seconds <= first.wait_seconds for one in again)
    assert all(one.limit == "requests" for one in again)
    assert 119 < other.wait_seconds <= 120


async def test_places_that_nobody_claims_go_back_to_whoever_asks(opened: Opened) -> None:
    limiter = await opened(RatelimitConfig.model_validate({"timeout": "PT5S", "grace": "PT0.05S"}))
    slow = [draw("requests", 600, 1)]
    await limiter.take(slow)
    for n in range(20):  # two seconds of places, of clients that never come back
        await limiter.take(slow, ticket(f"gone-{n}"))
    begun = time.monotonic()
    served = 0

    async def five_served() -> bool:
        nonlocal served
        served += (await limiter.take(slow, ticket(f"new-{served}", only=False))).allowed
        return served >= 5

    await until(five_served)
    assert time.monotonic() - begun < 1.5


async def test_a_request_draws_from_all_of_its_buckets_or_from_none(limiter: Limiter) -> None:
    wide, narrow = draw("requests", 1, 100), draw("tokens", 1, 10, cost=8)
    assert (await limiter.take([wide, narrow])).allowed
    refused = await limiter.take([wide, narrow])
    assert refused.limit == "tokens"
    assert [one.remaining for one in refused.standings] == [99, 2]


async def test_a_key_that_is_refused_takes_nothing_from_its_tenant(limiter: Limiter) -> None:
    tenant, key = draw("tenant-requests", 1, 100), draw("key-requests", 1, 5)
    for _ in range(50):
        await limiter.take([tenant, key], ticket("noisy", only=False))
    quiet = await limiter.take([tenant])
    assert quiet.standings[0].remaining == 94


async def test_what_costs_more_than_the_burst_is_served_by_a_full_bucket(limiter: Limiter) -> None:
    large, small = draw("tokens", 60_000, 100, cost=250), draw("tokens", 60_000, 100, cost=1)
    assert (await limiter.take([large])).allowed
    after = await limiter.take([small])
    assert not after.allowed
    assert 0 < after.wait_seconds <= 0.151


async def test_what_was_not_needed_goes_back(limiter: Limiter) -> None:
    asked = draw("tokens", 1, 1_000, cost=900)
    await limiter.take([asked])
    assert not (await limiter.take([asked])).allowed
    limiter.refund([draw("tokens", 1, 1_000, cost=850)])
    assert (await limiter.look([asked])).standings[0].remaining == 950
    assert (await limiter.take([asked])).allowed


async def test_what_was_needed_beyond_the_estimate_is_drawn_after_the_fact(
    limiter: Limiter,
) -> None:
    await limiter.take([draw("tokens", 1, 1_000, cost=100)])
    limiter.refund([draw("tokens", 1, 1_000, cost=-400)])
    left = await limiter.look([draw("tokens", 1, 1_000)])
    assert left.standings[0].remaining == 500


async def test_a_look_draws_nothing(limiter: Limiter) -> None:
    one = [draw("requests", 1, 1)]
    assert [(await limiter.look(one)).allowed for _ in range(3)] == [True] * 3
    assert (await limiter.take(one)).allowed
    assert not (await limiter.look(one)).allowed


async def test_processes_share_the_buckets(opened: Opened) -> None:
    one, other = await opened(), await opened()
    ten = [draw("requests", 1, 10)]
    verdicts = await asyncio.gather(
        *[process.take(ten) for process in (one, other) for _ in range(10)]
    )
    assert sum(verdict.allowed for verdict in verdicts) == 10


async def test_the_line_of_a_tenant_has_an_end(opened: Opened) -> None:
    limiter = await opened(RatelimitConfig.model_validate({"timeout": "PT5S", "places": 2}))
    one = [draw("requests", 1, 1)]
    await limiter.take(one)
    waits = [(await limiter.take(one, ticket(f"{n}"))).wait_seconds for n in range(5)]
    assert [round(wait / 60) for wait in waits] == [1, 2, 3, 3, 3]


async def test_a_request_without_a_name_sent_again_and_again_does_not_fill_the_line(
    limiter: Limiter,
) -> None:
    one = [draw("requests", 1, 1)]
    await limiter.take(one)
    for _ in range(5):
        await asyncio.gather(*[limiter.take(one, ticket("hammer", only=False)) for _ in range(100)])
    polite = await limiter.take(one, ticket("polite"))
    assert round(polite.wait_seconds / 60) == 101


async def test_c015_flushed_buckets_fill_up_once(limiter: Limiter, cache_url: str) -> None:
    three = [draw("requests", 1, 3)]
    assert sum([(await limiter.take(three)).allowed for _ in range(5)]) == 3
    with redis.Redis.from_url(cache_url) as client:
        client.flushall()
        client.script_flush()
    assert sum([(await limiter.take(three)).allowed for _ in range(5)]) == 3


async def test_c144_no_call_gets_the_answer_of_another(limiter: Limiter) -> None:
    """Half of 400 callers go away while they wait; each of the others sees its own bucket."""

    async def ask(n: int) -> tuple[int, str, int]:
        verdict = await limiter.take([draw(f"requests-{n}", 1, n + 1)])
        return n, verdict.standings[0].name, verdict.standings[0].remaining

    asked = [asyncio.create_task(ask(n)) for n in range(400)]
    await asyncio.sleep(0)
    for task in asked[::2]:
        task.cancel()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    whole = [answer for answer in answers if isinstance(answer, tuple)]
    assert len(whole) >= 200
    assert all(answer == (answer[0], f"requests-{answer[0]}", answer[0]) for answer in whole)


async def test_without_valkey_each_process_holds_the_limit_for_itself(tmp_path: object) -> None:
    alone = Limiter(None, PATIENT)
    three = [draw("requests", 1, 3)]
    verdicts = [await alone.take(three, ticket("x")) for _ in range(5)]
    assert [verdict.allowed for verdict in verdicts] == [True, True, True, False, False]
    assert 59 < verdicts[-1].wait_seconds <= 60
    with pytest.raises(LimitsUnavailable):
        await alone.take([draw("requests", 1, 3, when_lost="refuse")])


async def test_a_silent_valkey_costs_one_wait_and_comes_back(
    valkey: Valkey, cache_url: str
) -> None:
    """Stopped, it answers nothing: one call waits for its deadline, the next are not even sent."""
    now = 1_000.0
    limiter = Limiter(
        cache_url,
        RatelimitConfig.model_validate({"timeout": "PT0.2S", "pause": "PT1S"}),
        clock=lambda: now,
    )
    three = [draw("requests", 1, 3)]
    assert (await limiter.take(three)).standings[0].remaining == 2
    valkey.process.send_signal(19)
    try:
        begun = time.monotonic()
        verdicts = [await limiter.take(three) for _ in range(100)]
        assert time.monotonic() - begun < 1
        assert sum(verdict.allowed for verdict in verdicts) == 3
        assert limiter.lost
        assert limiter.losses == 100
    finally:
        valkey.process.send_signal(18)
    now += 1

    async def back() -> bool:
        nonlocal now
        await limiter.take([draw("others", 1_000_000, 1_000_000)])
        now += 1
        return not limiter.lost

    await until(back)
    # What was sent before it fell silent, it may have done when it woke.
    assert (await limiter.look(three)).standings[0].remaining in (1, 2)
    await limiter.close()


async def test_a_valkey_that_is_away_is_found_again(tmp_path: object) -> None:
    from app.embedded import states  # noqa: PLC0415

    folder = states.temporary()
    first = server.start(folder / "vk")
    limiter = Limiter(
        first.database(1), RatelimitConfig.model_validate({"timeout": "PT2S", "pause": "PT0.01S"})
    )
    two = [draw("requests", 1, 2)]
    assert (await limiter.take(two)).allowed
    first.stop()
    assert (await limiter.take(two)).allowed
    assert limiter.lost
    second = server.start(folder / "vk")

    async def found() -> bool:
        await limiter.look(two)
        return not limiter.lost

    await until(found)
    await limiter.close()
    second.stop()


DRAWS = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(1, 12), min_size=1)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=st.lists(DRAWS, max_size=30))
async def test_the_script_and_the_processs_own_buckets_decide_alike(
    cache_url: str, asked: list[dict[str, int]]
) -> None:
    with redis.Redis.from_url(cache_url) as client:
        client.flushdb()
    bursts = {"a": 5, "b": 10, "c": 30}
    shared, local = Limiter(cache_url, PATIENT), Local()
    try:
        for one in asked:
            draws = [draw(name, 1, bursts[name], cost) for name, cost in one.items()]
            here, there = local.take(draws, 0.0), await shared.take(draws)
            assert here.allowed == there.allowed
            assert abs(here.wait_seconds - there.wait_seconds) < 30  # the script's own time goes on
    finally:
        await shared.close()
