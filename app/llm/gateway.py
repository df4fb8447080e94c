"""The gateway: a completion is routed, held for, called, settled. Every provider call passes here."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import structlog

from app.budgets import ledger
from app.budgets.ledger import Ledger, Place, Recorded
from app.core import backoff, ids
from app.core.db import Database
from app.core.errors import Invalid
from app.core.ids import HoldId
from app.llm import counting, provider
from app.llm.answers import Completion
from app.llm.config import LlmConfig, Route
from app.llm.errors import ContextTooLong, ProviderFailed
from app.llm.provider import Provider, Request
from app.switches import levers
from app.switches.errors import Disabled
from app.usage import pricing
from app.usage.errors import UnpricedModel
from app.usage.pricing import Price, Tokens

SWITCH: Final = "model_calls"
_PAUSE: Final = timedelta(milliseconds=250)  # before the first retry, at most; doubling

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Message:
    """Who says what."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Ask:
    """What a step wants completed. `rung` is the route: 0 the cheapest; above the ladder, its last."""

    messages: Sequence[Message]
    max_tokens: int
    temperature: float = 0.0
    stop: tuple[str, ...] = ()
    rung: int = 0
    timeout: timedelta | None = None  # of each call; None: the settings'
    traceparent: str | None = None  # the trace that each call is made within


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said, where, and what it cost. `recorded`: it was bought before, by an earlier try.

    `calls` are the provider calls made for it now, retries included; `cost_nanousd` is of the one
    that answered, the others are in the usage of the job.
    """

    text: str
    finish: str
    provider: str
    model: str
    route: str
    tokens: Tokens
    cost_nanousd: int
    estimated: bool
    recorded: bool
    calls: int


@dataclass(frozen=True, slots=True)
class Present:
    """What holds at the moment: the kill switch and the prices, read together."""

    read_at: float
    off: bool
    prices: dict[tuple[str, str], Price]


@dataclass(slots=True)
class Gateway:
    """The ladder of one process, its ledger, and what it knows for a moment."""

    config: LlmConfig
    ledger: Ledger
    db: Database
    ladder: tuple[Provider, ...]
    present: Present | None = None
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)
    rng: random.Random = field(default_factory=random.Random)


def open_gateway(
    config: LlmConfig, ledger_: Ledger, db: Database, *, embedded_url: str | None = None
) -> Gateway:
    """A gateway over the ladder of these settings; nothing is connected yet.

    `embedded_url` is where the embedded model answers, for the first rung.
    """
    routes = config.ladder(embedded_url)
    return Gateway(
        config, ledger_, db, tuple(provider.open_provider(one, config) for one in routes)
    )


async def close(gateway: Gateway) -> None:
    """Close the connections to providers. The ledger is its opener's."""
    for rung in gateway.ladder:
        await rung.client.close()


def rungs(gateway: Gateway) -> int:
    """How many routes the ladder has."""
    return len(gateway.ladder)


async def complete(gateway: Gateway, place: Place, ask: Ask) -> Reply:
    """Buy one completion, or read the one that this place bought before.

    A route whose window is too small is passed over for the next that is larger. Raises Disabled,
    UnpricedModel, BudgetExhausted, ContextTooLong, ProviderFailed, AttemptLost, Unavailable. Whatever
    happens, every hold that was made is closed: settled, released, or booked unconfirmed.
    """
    if ask.max_tokens < 1:
        raise Invalid.at("/max_tokens", "At least 1.")
    if not gateway.ladder:
        raise UnpricedModel("No model is configured.")
    first = min(max(ask.rung, 0), len(gateway.ladder) - 1)
    refused: ContextTooLong | None = None
    window = 0  # what was seen to be too small
    for rung in gateway.ladder[first:]:
        if rung.route.context_tokens <= window:
            continue
        try:
            return await _buy(gateway, place, ask, rung)
        except ContextTooLong as error:
            refused, window = error, rung.route.context_tokens
    assert refused is not None  # noqa: S101 - the ladder has a rung, and it refused
    raise refused


async def _buy(gateway: Gateway, place: Place, ask: Ask, rung: Provider) -> Reply:
    route = rung.route
    max_tokens = await _room(route, ask)
    request = Request(
        messages=[{"role": one.role, "content": one.content} for one in ask.messages],
        max_tokens=max_tokens, temperature=ask.temperature, stop=ask.stop, key=place.effect_key,
        timeout=ask.timeout or gateway.config.total_timeout, traceparent=ask.traceparent,
    )  # fmt: skip
    calls = 0
    while True:
        calls += 1
        try:
            async with rung.slots:  # first, so that no money is held by who waits
                return await _try(gateway, place, ask, rung, request, calls)
        except ProviderFailed as failure:
            wait = _wait(gateway, failure, calls)
            _log.warning(
                "provider_failed", route=route.name, status=failure.status, served=failure.served,
                call=calls, again_in_seconds=wait,
            )  # fmt: skip
            if wait is None:
                raise
            await asyncio.sleep(wait)


async def _try(
    gateway: Gateway,
    place: Place,
    ask: Ask,
    rung: Provider,
    request: Request,
    calls: int,
) -> Reply:
    """One provider call under a hold of its own; none where this place bought its reply before."""
    price = await _allowed(gateway, rung.route)
    hold = HoldId(ids.new())
    outcome = await ledger.reserve(
        gateway.ledger, place, provider=price.provider, model=price.model, price=price,
        input_bound_tokens=counting.bound(ask.messages), max_output_tokens=request.max_tokens,
        hold=hold,
    )  # fmt: skip
    if isinstance(outcome, Recorded):
        return _recorded(outcome.reply, calls - 1)
    return await _call(gateway, rung, ask, request, price, hold, calls)


async def _allowed(gateway: Gateway, route: Route) -> Price:
    """The route's price, where calls are on. Asked before each call, since one may have waited long."""
    present = await look(gateway)
    if present.off:
        raise Disabled("Model calls are switched off.", switch=SWITCH)
    price = present.prices.get((route.provider, route.model))
    if price is None:
        raise UnpricedModel(
            f"{route.name} has no price.", provider=route.provider, model=route.model
        )
    return price


async def _call(
    gateway: Gateway,
    rung: Provider,
    ask: Ask,
    request: Request,
    price: Price,
    hold: HoldId,
    calls: int,
) -> Reply:
    """One provider call under its hold, which every way out of here closes."""
    began = time.monotonic()
    try:
        completion = await provider.complete(rung, request)
        tokens, estimated = await _tokens(ask, request, completion)
    except ContextTooLong:
        await ledger.release(gateway.ledger, hold)
        raise
    except ProviderFailed as failure:
        await _close_failed(gateway, hold, price, failure, began)
        raise
    except BaseException:  # cancelled, or a fault of ours: the provider may have served it
        await ledger.settle_unconfirmed(gateway.ledger, hold)
        raise
    reply = Reply(
        text=completion.text, finish=completion.finish, provider=price.provider, model=price.model,
        route=rung.route.name, tokens=tokens, cost_nanousd=pricing.cost_nanousd(price, tokens),
        estimated=estimated, recorded=False, calls=calls,
    )  # fmt: skip
    settled = await ledger.settle(
        gateway.ledger, hold, cost_nanousd=reply.cost_nanousd, tokens=tokens, estimated=estimated,
        latency_ms=_since(began), reply=_kept(reply),
    )  # fmt: skip
    if settled.overrun:
        _log.error(
            "overrun", route=rung.route.name, hold=str(hold), cost_nanousd=reply.cost_nanousd
        )
    return reply


async def _close_failed(
    gateway: Gateway, hold: HoldId, price: Price, failure: ProviderFailed, began: float
) -> None:
    """Settle what its usage proves; release what was certainly not served; else book the hold."""
    match failure.served, failure.tokens:
        case "proven", Tokens() as tokens:
            await ledger.settle(
                gateway.ledger, hold, cost_nanousd=pricing.cost_nanousd(price, tokens), tokens=tokens,
                estimated=False, latency_ms=_since(began), reply=None,
            )  # fmt: skip
        case "no", _:
            await ledger.release(gateway.ledger, hold)
        case _:
            await ledger.settle_unconfirmed(gateway.ledger, hold)


def _wait(gateway: Gateway, failure: ProviderFailed, calls: int) -> float | None:
    """Seconds until the next call, or None where there is none: final, tried enough, or too long to wait."""
    if not failure.retryable or calls > gateway.config.retries:
        return None
    patience = gateway.config.patience
    if failure.retry_after_seconds is not None:
        wait = failure.retry_after_seconds
        return wait if wait <= patience.total_seconds() else None
    return backoff.delay(calls, base=_PAUSE, cap=patience, rng=gateway.rng).total_seconds()


async def _room(route: Route, ask: Ask) -> int:
    """Output tokens that the window leaves, at most those asked for. Raises ContextTooLong."""
    if counting.bound(ask.messages) + ask.max_tokens <= route.context_tokens:
        return ask.max_tokens  # it fits at its very most: nothing to count
    counted = await asyncio.to_thread(counting.count, ask.messages)
    room = route.context_tokens - counted
    if room <= 0:
        raise ContextTooLong(
            f"The prompt has about {counted} tokens; {route.name} takes {route.context_tokens}.",
            counted_tokens=counted, window_tokens=route.context_tokens,
        )  # fmt: skip
    return min(ask.max_tokens, room)


async def _tokens(ask: Ask, request: Request, completion: Completion) -> tuple[Tokens, bool]:
    """The usage of a completion, and whether we had to count it: never more than was held, never none."""
    told = completion.tokens
    if told is not None and (told.output or not completion.text):
        return told, False
    given = await asyncio.to_thread(counting.count, ask.messages)
    spoken = await asyncio.to_thread(counting.count_text, completion.text)
    counted = Tokens(
        input=min(given, counting.bound(ask.messages)), output=min(spoken, request.max_tokens)
    )
    return counted, True


async def look(gateway: Gateway) -> Present:
    """The kill switch and the prices, at most `known_for` old; one look for all who ask meanwhile."""
    known_for = gateway.config.known_for.total_seconds()
    if _fresh(gateway.present, known_for) is None:
        async with gateway.looking:
            if _fresh(gateway.present, known_for) is None:
                gateway.present = await _read(gateway)
    assert gateway.present is not None  # noqa: S101 - looked just now
    return gateway.present


def _fresh(present: Present | None, known_for: float) -> Present | None:
    return present if present and time.monotonic() - present.read_at < known_for else None


async def _read(gateway: Gateway) -> Present:
    read_at = time.monotonic()
    pairs = [(rung.route.provider, rung.route.model) for rung in gateway.ladder]
    async with gateway.db.transaction() as session:
        off = await levers.off(session)
        prices = await pricing.in_force(session, pairs)
    return Present(read_at, SWITCH in off, prices)


def _since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)


def _kept(reply: Reply) -> dict[str, Any]:
    """A reply as the ledger keeps it; `asdict` copies deeply and takes ten times as long."""
    tokens = {name: getattr(reply.tokens, name) for name in Tokens.__slots__}
    return {name: getattr(reply, name) for name in Reply.__slots__} | {"tokens": tokens}


def _recorded(kept: dict[str, Any], calls: int) -> Reply:
    tokens = Tokens(**kept["tokens"])
    return Reply(**kept | {"tokens": tokens, "recorded": True, "calls": calls})
