"""Model calls through a real ledger to a fake provider: what is asked, what is booked, what is raised."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr

from app.audit import trail
from app.budgets import ledger
from app.budgets.errors import BudgetExhausted
from app.core.db import Database
from app.core.errors import Invalid, Unavailable
from app.core.ids import TenantId
from app.llm import counting, gateway
from app.llm.config import LlmConfig, Route
from app.llm.errors import ContextTooLong, ProviderFailed
from app.llm.gateway import Ask, Gateway, Message
from app.switches import levers
from app.switches.errors import Disabled
from app.usage.errors import UnpricedModel
from tests.arrange import make_tenant
from tests.budgets import scene
from tests.fakes.provider import Answer, Provider
from tests.waiting import until

ASK = Ask([Message("system", "Be brief."), Message("user", "How many chambers")], max_tokens=32)
BOUND = counting.bound(ASK.messages)  # each token costs a nano-dollar here
HELD = BOUND + 32


async def failing(gate: Gateway, place: ledger.Place, ask: Ask = ASK) -> ProviderFailed:
    with pytest.raises(ProviderFailed) as caught:
        await gateway.complete(gate, place, ask)
    return caught.value


def booked(admin: psycopg.Connection) -> list[tuple[int, bool]]:
    return [(line.cost_nanousd, line.unconfirmed) for line in scene.lines(admin)]


def states(admin: psycopg.Connection) -> list[str]:
    rows = admin.execute("SELECT state FROM reservation ORDER BY id").fetchall()
    return [row[0] for row in rows]


async def test_a_completion_is_asked_for_held_and_settled(
    gate: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId
) -> None:
    place = scene.begin(admin, tenant)

    reply = await gateway.complete(gate, place, ASK)

    assert (reply.text, reply.finish, reply.route) == ("How many chambers", "stop", "fake/fake-1")
    assert (reply.tokens.input, reply.tokens.output, reply.cost_nanousd) == (5, 3, 8)
    assert (reply.recorded, reply.estimated, reply.calls) == (False, False, 1)
    (asked,) = fake.asked
    assert asked.key == place.effect_key
    assert asked.headers["authorization"] == "Bearer sk-CANARY-1"
    assert asked.body == {
        "model": "fake-1", "max_tokens": 32, "temperature": 0.0,
        "messages": [{"role": "system", "content": "Be brief."},
                     {"role": "user", "content": "How many chambers"}],
    }  # fmt: skip
    (line,) = scene.lines(admin)
    assert (line.input_tokens, line.output_tokens, line.cost_nanousd) == (5, 3, 8)
    row = admin.execute("SELECT asked_nanousd FROM reservation").fetchone()
    assert row == (HELD,)
    scene.balanced(admin)


async def test_a_resumed_step_reads_the_reply_it_bought(
    gate: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId
) -> None:
    place = scene.begin(admin, tenant)
    first = await gateway.complete(gate, place, ASK)

    again = await gateway.complete(gate, scene.resume(admin, place), ASK)

    assert (again.text, again.tokens, again.cost_nanousd) == (
        first.text,
        first.tokens,
        first.cost_nanousd,
    )
    assert (again.recorded, again.calls) == (True, 0)
    assert len(fake.asked) == 1


async def test_what_was_certainly_not_served_is_released_and_tried_again(
    gate: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId
) -> None:
    fake.script = [Answer(status=429, body={"error": {"message": "slow down"}})] * 2
    reply = await gateway.complete(gate, scene.begin(admin, tenant), ASK)
    assert reply.calls == 3
    assert states(admin) == ["released", "released", "settled"]
    assert booked(admin) == [(8, False)]
    scene.balanced(admin)


async def test_what_may_have_been_served_is_booked_at_its_hold(
    gate: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId
) -> None:
    fake.otherwise = Answer(status=503, body={"error": {"message": "no capacity"}})
    failure = await failing(gate, scene.begin(admin, tenant))
    assert (failure.status, failure.retryable) == (503, True)
    assert len(fake.asked) == 3
    assert booked(admin) == [(HELD, True)] * 3
    scene.balanced(admin)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 307])
async def test_a_final_refusal_is_asked_once_and_costs_nothing(
    gate: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId, status: int
) -> None:
    elsewhere = {"location": f"{fake.base_url}/chat/completions"}
    fake.otherwise = Answer(status=status, headers=elsewhere, body={"error": {"message": "no"}})
    failure = await failing(gate, scene.begin(admin, tenant))
    assert (failure.retryable, failure.served) == (False, "no")
    assert len(fake.asked) == 1
    assert states(admin) == ["released"]
    assert booked(admin) == []


async def test_a_long_wait_is_handed_up_and_a_short_one_waited_for(
    gate: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId
) -> None:
    """C050"""
    place = scene.begin(admin, tenant)
    fake.script = [Answer(status=429, headers={"retry-after": "7"}, body={})]
    failure = await failing(gate, place)
    assert (failure.retryable, failure.retry_after_seconds) == (True, 7.0)
    assert len(fake.asked) == 1

    waits = {"retry-after": "7", "retry-after-ms": "250"}
    fake.script = [Answer(status=429, headers=waits, body={})]
    began = time.monotonic()
    reply = await gateway.complete(gate, place, ASK)
    assert reply.calls == 2
    assert 0.25 <= time.monotonic() - began < 7


@pytest.mark.parametrize("cut", [0, 5, 75])
async def test_a_connection_reset_anywhere_is_tried_again_and_both_calls_are_booked(
    gate: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId, cut: int
) -> None:
    """C048: before the answer, within it, within a character of it. The transport calls the first a
    connect timeout; it is none, and the hold is booked."""
    body = b'{"choices": [{"finish_reason": "stop", "message": {"content": "' + "é".encode() * 20
    fake.script = [Answer(body=body, cut=cut)]
    reply = await gateway.complete(gate, scene.begin(admin, tenant), ASK)
    assert (reply.text, reply.calls) == ("How many chambers", 2)
    assert booked(admin) == [(HELD, True), (8, False)]
    scene.balanced(admin)


async def test_an_answer_that_is_no_use_costs_what_its_usage_proves(
    gate: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId
) -> None:
    """C049, C070"""
    usage = {"prompt_tokens": 5, "completion_tokens": 4}
    fake.script = [
        Answer(body={"choices": None, "usage": usage}),
        Answer(body={"error": {"code": 429, "message": "limit"}}),
    ]
    reply = await gateway.complete(gate, scene.begin(admin, tenant), ASK)
    assert reply.calls == 3
    assert states(admin) == ["settled", "released", "settled"]
    assert booked(admin) == [(9, False), (8, False)]
    assert scene.account(admin, tenant) == (17, 0)


async def test_a_page_instead_of_an_answer_is_a_bad_gateway(
    gate: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId
) -> None:
    """C049"""
    fake.otherwise = Answer(body="<html>It works!</html>")
    failure = await failing(gate, scene.begin(admin, tenant))
    assert failure.retryable
    assert "not a JSON object" in failure.message
    assert booked(admin) == [(HELD, True)] * 3


@pytest.mark.parametrize("usage", [None, {"prompt_tokens": 5, "completion_tokens": 0}])
async def test_usage_that_is_missing_is_counted_and_marked(
    gate: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId, usage: Any
) -> None:
    """C071: never nothing, never more than was held."""
    fake.script = [Answer(usage=usage)]
    reply = await gateway.complete(gate, scene.begin(admin, tenant), ASK)
    assert reply.estimated
    assert 0 < reply.tokens.output <= 32
    assert 0 < reply.tokens.input <= BOUND
    (line,) = scene.lines(admin)
    assert (line.estimated, line.unconfirmed) == (True, False)
    assert line.cost_nanousd == reply.tokens.input + reply.tokens.output


async def test_a_count_of_ours_stays_within_the_hold(
    gate: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId
) -> None:
    """C071"""
    fake.script = [Answer(usage=None, text="many words " * 500)]
    reply = await gateway.complete(gate, scene.begin(admin, tenant), ASK)
    assert reply.tokens.output == 32
    scene.balanced(admin)


async def test_a_call_that_costs_more_than_its_hold_blocks_the_account(
    gate: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId
) -> None:
    fake.script = [Answer(usage={"prompt_tokens": 5_000, "completion_tokens": 100})]
    place = scene.begin(admin, tenant)
    reply = await gateway.complete(gate, place, ASK)
    assert reply.cost_nanousd == 5_100
    assert scene.account(admin, tenant) == (5_100, 0)
    with pytest.raises(BudgetExhausted):
        await gateway.complete(gate, scene.begin(admin, tenant), ASK)
    assert len(fake.asked) == 1


async def test_a_server_that_is_not_there_costs_nothing(
    gate: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId, db: Database
) -> None:
    config = LlmConfig(provider="fake", model="fake-1", base_url="http://127.0.0.1:1/v1", retries=1)
    lonely = gateway.open_gateway(config, gate.ledger, db)
    failure = await failing(lonely, scene.begin(admin, tenant))
    await gateway.close(lonely)
    assert (failure.retryable, failure.served) == (True, "no")
    assert states(admin) == ["released", "released"]
    assert booked(admin) == []


async def test_a_silent_server_is_hung_up_on_and_booked(
    gate: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId
) -> None:
    fake.otherwise = Answer(held=True)
    ask = Ask(ASK.messages, ASK.max_tokens, timeout=timedelta(milliseconds=150))
    failure = await failing(gate, scene.begin(admin, tenant), ask)
    assert failure.served == "unknown"
    assert booked(admin) == [(HELD, True)] * 3
    await until(lambda: _closed(fake), what="the provider sees that nobody waits")


async def test_a_cancelled_call_is_hung_up_on_booked_and_raised(
    gate: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId
) -> None:
    """C031: also where the cancellation comes twice."""
    fake.otherwise = Answer(held=True)
    calling = asyncio.create_task(gateway.complete(gate, scene.begin(admin, tenant), ASK))
    await until(lambda: _asked(fake, 1))
    calling.cancel()
    await asyncio.sleep(0)
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    await ledger.close(gate.ledger)
    assert booked(admin) == [(HELD, True)]
    assert scene.account(admin, tenant) == (HELD, 0)
    await until(lambda: _closed(fake), what="the provider sees that nobody waits")


async def test_a_step_cancelled_between_two_calls_leaves_nothing_open(
    gate: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId
) -> None:
    fake.otherwise = Answer(status=429, headers={"retry-after": "2"}, body={})
    calling = asyncio.create_task(gateway.complete(gate, scene.begin(admin, tenant), ASK))
    await until(lambda: _released(admin))
    calling.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calling
    assert scene.account(admin, tenant) == (0, 0)
    assert len(fake.asked) == 1


async def test_the_kill_switch_stops_calls_before_anything_is_held(
    gate: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId, db: Database
) -> None:
    place, actor = scene.begin(admin, tenant), trail.Actor("operator", "test")
    await gateway.complete(gate, place, ASK)
    async with db.transaction() as session:
        await levers.turn_off(session, gateway.SWITCH, actor=actor, reason="drill")
    other = scene.begin(admin, tenant)
    await until(lambda: _is_off(gate), what="the gateway sees the switch")
    with pytest.raises(Disabled):
        await gateway.complete(gate, other, ASK)
    async with db.transaction() as session:
        await levers.turn_on(session, gateway.SWITCH, actor=actor, reason="drill")
    await until(lambda: _is_on(gate), what="the gateway sees the switch")
    await gateway.complete(gate, other, ASK)
    assert len(fake.asked) == 2


async def test_a_model_without_a_price_is_refused_and_never_called(
    gate: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId, db: Database
) -> None:
    """C068"""
    config = LlmConfig(provider="fake", model="new-model-x", base_url=fake.base_url)
    unpriced = gateway.open_gateway(config, gate.ledger, db)
    with pytest.raises(UnpricedModel) as caught:
        await gateway.complete(unpriced, scene.begin(admin, tenant), ASK)
    await gateway.close(unpriced)
    assert caught.value.context == {"provider": "fake", "model": "new-model-x"}
    assert fake.asked == []
    assert states(admin) == []


async def test_an_empty_budget_means_no_call(
    gate: Gateway, fake: Provider, admin: psycopg.Connection
) -> None:
    poor = make_tenant(admin, "poor", limit_nanousd=HELD - 1)
    with pytest.raises(BudgetExhausted):
        await gateway.complete(gate, scene.begin(admin, poor), ASK)
    assert fake.asked == []


async def test_a_ledger_out_of_reach_means_no_call(
    gate: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId, db: Database
) -> None:
    nowhere = Database("postgresql://towpath_app@127.0.0.1:1/none", db.engine, db.sessions)
    books = ledger.open_ledger(nowhere)
    deaf = gateway.open_gateway(gate.config, books, db)
    with pytest.raises(Unavailable):
        await gateway.complete(deaf, scene.begin(admin, tenant), ASK)
    await gateway.close(deaf)
    assert fake.asked == []


@pytest.mark.parametrize("max_tokens", [0, -1])
async def test_a_limit_below_one_is_refused_before_anything(
    gate: Gateway, admin: psycopg.Connection, tenant: TenantId, max_tokens: int
) -> None:
    """C061"""
    with pytest.raises(Invalid):
        await gateway.complete(gate, scene.begin(admin, tenant), Ask(ASK.messages, max_tokens))
    assert states(admin) == []


class Ladder:
    """Three routes of one fake server: windows of 128, 64 and 4,096 tokens."""

    def __init__(self, gate: Gateway, fake: Provider, db: Database) -> None:
        higher = [
            Route(provider="fake", model=name, base_url=fake.base_url, context_tokens=window,
                  limit_field=field, api_key=SecretStr("k" * 8))
            for name, window, field in (
                ("fake-2", 64, "max_tokens"), ("fake-3", 4_096, "max_completion_tokens"))
        ]  # fmt: skip
        config = gate.config.model_copy(update={"context_tokens": 128, "routes": tuple(higher)})
        self.gate = gateway.open_gateway(config, gate.ledger, db)


@pytest.fixture
async def ladder(
    gate: Gateway, fake: Provider, db: Database, admin: psycopg.Connection
) -> AsyncIterator[Gateway]:
    for model in ("fake-2", "fake-3"):
        scene.enter_price(admin, ("fake", model))
    opened = Ladder(gate, fake, db).gate
    yield opened
    await gateway.close(opened)


@pytest.mark.parametrize(
    ("rung", "model"), [(-1, "fake-1"), (0, "fake-1"), (2, "fake-3"), (9, "fake-3")]
)
async def test_the_rung_picks_the_route_up_to_the_last(
    ladder: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId, rung: int, model: str
) -> None:  # fmt: skip
    ask = Ask([Message("user", "hi")], 4, stop=("\n",), temperature=0.5, rung=rung)
    reply = await gateway.complete(ladder, scene.begin(admin, tenant), ask)
    assert (reply.model, gateway.rungs(ladder)) == (model, 3)
    (asked,) = fake.asked
    limit = "max_completion_tokens" if model == "fake-3" else "max_tokens"
    assert (asked.body[limit], asked.body["stop"], asked.body["temperature"]) == (4, ["\n"], 0.5)


async def test_a_window_too_small_is_passed_over_without_a_call(
    ladder: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId
) -> None:
    """C059: the smaller one in between too."""
    ask = Ask([Message("user", "word " * 200)], 16)
    reply = await gateway.complete(ladder, scene.begin(admin, tenant), ask)
    assert reply.model == "fake-3"
    assert [one.body["model"] for one in fake.asked] == ["fake-3"]
    assert states(admin) == ["settled"]


async def test_a_provider_that_finds_the_prompt_too_long_hands_it_to_a_larger_window(
    ladder: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId
) -> None:
    """C058: not tried again on the same route, and nothing is owed for the refusal."""
    fake.script = [Answer(status=400, body={"error": {"code": "context_length_exceeded"}})]
    reply = await gateway.complete(
        ladder, scene.begin(admin, tenant), Ask([Message("user", "hi")], 4)
    )
    assert [one.body["model"] for one in fake.asked] == ["fake-1", "fake-3"]
    assert reply.model == "fake-3"
    assert states(admin) == ["released", "settled"]


async def test_a_prompt_that_fits_no_window_fails_with_its_size_before_any_hold(
    ladder: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId
) -> None:
    """C058, C061: what would leave no room for an answer is an overflow, not a limit of -24."""
    ask = Ask([Message("user", "word " * 5_000)], 16)
    with pytest.raises(ContextTooLong) as caught:
        await gateway.complete(ladder, scene.begin(admin, tenant), ask)
    assert caught.value.context["window_tokens"] == 4_096
    assert caught.value.context["counted_tokens"] > 5_000
    assert fake.asked == []
    assert states(admin) == []


async def test_an_answer_gets_what_the_window_leaves(
    ladder: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId
) -> None:
    ask = Ask([Message("user", "word " * 60)], 1_000)
    await gateway.complete(ladder, scene.begin(admin, tenant), ask)
    left = fake.asked[0].body["max_tokens"]
    assert 0 < left == 128 - counting.count(ask.messages)


async def test_many_calls_at_once_keep_the_books(
    gate: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId
) -> None:
    places = [scene.begin(admin, tenant, max_cost_nanousd=10_000) for _ in range(40)]
    fake.script = [Answer(status=429, body={}), Answer(status=500, body={}), Answer(cut=0)] * 5
    replies = await asyncio.gather(*[gateway.complete(gate, place, ASK) for place in places])
    assert all(reply.text == "How many chambers" for reply in replies)
    assert len(fake.asked) == 55
    assert len([one for one in booked(admin) if one[1]]) == 10
    scene.balanced(admin)


async def test_a_route_takes_no_more_calls_at_once_than_it_may(
    gate: Gateway, fake: Provider, admin: psycopg.Connection, tenant: TenantId, db: Database
) -> None:
    narrow = gateway.open_gateway(gate.config.model_copy(update={"max_calls": 2}), gate.ledger, db)
    fake.otherwise = Answer(held=True)
    places = [scene.begin(admin, tenant) for _ in range(6)]
    calls = [asyncio.create_task(gateway.complete(narrow, place, ASK)) for place in places]
    await until(lambda: _asked(fake, 2))
    assert scene.account(admin, tenant) == (0, 2 * HELD)  # who waits holds nothing
    fake.otherwise = Answer()
    fake.released.set()
    await asyncio.gather(*calls)
    await gateway.close(narrow)
    assert (len(fake.asked), fake.most_open) == (6, 2)


async def _asked(fake: Provider, count: int) -> bool:
    return len(fake.asked) >= count


async def _closed(fake: Provider) -> bool:
    return fake.open_calls == 0


async def _released(admin: psycopg.Connection) -> bool:
    return states(admin) == ["released"]


async def _is_off(gate: Gateway) -> bool:
    return (await gateway.look(gate)).off


async def _is_on(gate: Gateway) -> bool:
    return not (await gateway.look(gate)).off
