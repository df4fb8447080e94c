"""Admission: payload checks, version pin, cost envelope; then one grouped commit for all that arrive together."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import psycopg

from app.audit import trail
from app.budgets.errors import BudgetExhausted
from app.core import ids, statements
from app.core.db import Database
from app.core.errors import TowpathError
from app.core.groupcommit import GroupCommit
from app.core.ids import EndpointId, JobId, KeyId, TenantId, VersionId
from app.core.recent import Recent
from app.idempotency import records
from app.idempotency.errors import IdempotencyKeyReused
from app.intake import uniqueness
from app.intake.backlog import Backlog
from app.intake.config import IntakeConfig
from app.intake.errors import DuplicateJob
from app.intake.uniqueness import Unique
from app.jobs import caps
from app.ratelimit import charging
from app.ratelimit.buckets import Standing
from app.ratelimit.limiter import Limiter
from app.switches import levers, pauses
from app.switches.errors import Disabled
from app.switches.pauses import Scope
from app.tenants.limits import NONE, Limits
from app.usage import pricing
from app.usage.errors import UnpricedModel
from app.workflows import definitions, versions
from app.workflows.definitions import Predicted
from app.workflows.errors import UnknownWorkflow

_ADMIT = statements.load(__file__, "admit")

ROUTE: Final = "POST /v1/jobs"  # the scope of a key, shared by single and bulk admission
# Predictions may lag behind a price change, holds never do.
PRICE_KNOWN_FOR: Final = timedelta(seconds=30)
UNPREDICTED_NANOUSD: Final = (
    1  # what a job without model calls weighs, so that fairness can count it
)


@dataclass(frozen=True, slots=True)
class JobSpec:
    """What a client asks for. `version` pins a number; None takes the released one."""

    workflow: str
    input: dict[str, Any]
    version: int | None = None
    lane: str = "standard"
    priority: int = 4
    run_at: datetime | None = None
    deadline_at: datetime | None = None
    max_cost_nanousd: int | None = None
    max_attempts: int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    end_user: str | None = None
    session: str | None = None
    traceparent: str | None = None
    unique: Unique | None = None
    callback_url: str | None = None
    callback: EndpointId | None = None  # the endpoint that the url is of

    def intent(self) -> dict[str, Any]:
        """What makes two requests the same one: all but the trace, and what its url leads to by now."""
        shape = {
            name: getattr(self, name)
            for name in self.__slots__
            if name not in ("traceparent", "callback")
        }
        moments = {
            name: value.isoformat() for name, value in shape.items() if isinstance(value, datetime)
        }
        unique = None if self.unique is None else asdict(self.unique)
        return shape | moments | {"tags": list(self.tags), "unique": unique}


@dataclass(frozen=True, slots=True)
class Asker:
    """On whose behalf a job is admitted."""

    tenant: TenantId
    key: KeyId | None
    actor: trail.Actor
    request_id: str | None = None
    address: str | None = None
    limits: Limits = NONE  # of the tenant; what the platform asks for itself has none


@dataclass(frozen=True, slots=True)
class Admitted:
    """The job that stands for the intent, and whether this call made it. `existing`: another has its unique key.

    Where it was made, the job has this version, so many tries, and was created `at`, the database's time. `standings` is
    what is left of the limits that it was charged to.
    """

    job: JobId
    outcome: Literal["created", "replayed", "existing"]
    version_number: int
    max_attempts: int
    at: datetime
    standings: tuple[Standing, ...] = ()


@dataclass(frozen=True, slots=True)
class Pinned:
    """A version as admission needs it."""

    id: VersionId
    number: int
    schema: str  # of the input, as JSON text
    definition: definitions.Definition
    limits: dict[str, int] | None  # on how many run at once, as a job keeps them


@dataclass(frozen=True, slots=True)
class Desk:
    """Where jobs are admitted in one process: its group, and what it knows for a moment."""

    db: Database
    config: IntakeConfig
    rungs: Sequence[
        tuple[str, str]
    ]  # (provider, model) of each rung of the ladder, for predictions
    group: GroupCommit[dict[str, Any], Any]
    pinned: Recent[tuple[TenantId, str, int | None], Pinned]
    prices: Recent[tuple[str, str], pricing.Price | None]
    off: Recent[None, frozenset[str]]
    drained: Recent[None, dict[Scope, str]]
    limiter: Limiter
    backlog: Backlog

    async def shed(self) -> None:
        """Refuse whatever it is, where even the highest lane is refused. Raises Overloaded."""
        await self.backlog.shed("interactive", self.group.pending)

    async def close(self) -> None:
        """Wait for what is in flight."""
        await self.group.close()
        await self.backlog.close()


def open_desk(
    db: Database, config: IntakeConfig, rungs: Sequence[tuple[str, str]], limiter: Limiter
) -> Desk:
    """A desk on this database."""
    kept = config.idempotency_kept

    async def run(
        connection: psycopg.AsyncConnection[Any], items: Sequence[dict[str, Any]]
    ) -> list[Any]:
        if any("unique" in item for item in items):
            return await uniqueness.admit(connection, items, admit_all, kept)
        return await admit_all(connection, items)

    async def admit_all(
        connection: psycopg.AsyncConnection[Any], items: Sequence[dict[str, Any]]
    ) -> list[Any]:
        rows = [item | {"n": n} for n, item in enumerate(items)]
        cursor = await connection.execute(_ADMIT.raw, {"items": json.dumps(rows), "kept": kept})
        return await cursor.fetchall()

    async def pin(place: tuple[TenantId, str, int | None]) -> Pinned:
        async with db.transaction() as session:
            found = await versions.find(session, *place)
        definition = definitions.stored(found.definition)
        resources = {limit.key: limit.max for limit in definition.limits}
        limits = caps.limits(definition.concurrency, resources)
        return Pinned(found.id, found.number, json.dumps(definition.input), definition, limits)

    async def price(of: tuple[str, str]) -> pricing.Price | None:
        async with db.transaction() as session:
            return await pricing.at(session, *of)

    async def off(_: None) -> frozenset[str]:
        async with db.transaction() as session:
            return await levers.off(session)

    async def drained(_: None) -> dict[Scope, str]:
        async with db.transaction() as session:
            return await pauses.drains(session)

    return Desk(
        db, config, rungs, GroupCommit(run, db, weigh=_weight), Recent(pin, config.known_for),
        Recent(price, PRICE_KNOWN_FOR), Recent(off, config.known_for),
        Recent(drained, config.known_for), limiter, Backlog(db, config),
    )  # fmt: skip


def _weight(item: dict[str, Any]) -> int:
    return int(item["weight"])


async def admit(
    desk: Desk,
    asker: Asker,
    spec: JobSpec,
    *,
    key: str | None,
    job: JobId | None = None,
    route: str = ROUTE,
) -> Admitted:
    """Accept a job durably. The same key and intent answer with the first job; a key counts within its route.

    Raises Invalid, UnknownWorkflow, UnpricedModel, BudgetExhausted (its envelope has no room; nothing is
    stored), IdempotencyKeyReused, DuplicateJob, Disabled, Draining, Unavailable, QueueFull, Overloaded,
    RateLimitedRequests, RateLimitedTokens.
    """
    if "admission" in await desk.off.get(None):
        raise Disabled("Admission is switched off.", switch="admission")
    pauses.refuse(await desk.drained.get(None), asker.tenant, spec.lane, spec.workflow)
    await desk.backlog.enter(asker.tenant, asker.limits, spec.lane, desk.group.pending)
    calls: Sequence[Predicted] = ()
    try:
        pinned, calls, charged = await _charge(desk, asker, spec, key)
        job = job or JobId(ids.new())
        admitted = await _admit(desk, asker, spec, pinned, calls, key, job, charged, route)
    except TowpathError:
        _give_back(desk, asker, spec, calls)
        raise
    if admitted.outcome != "created":
        _give_back(desk, asker, spec, calls)
    return admitted


async def check(desk: Desk, tenant: TenantId, spec: JobSpec) -> None:
    """Whether such a job could be admitted, but for limits and money: its workflow, its input, its prices.

    Raises Invalid, UnknownWorkflow, UnpricedModel.
    """
    pinned = await desk.pinned.get((tenant, spec.workflow, spec.version))
    definitions.check_input(pinned.schema, spec.input)
    for call in definitions.predict(pinned.definition, len(json.dumps(spec.input))):
        await _price(desk, call)


async def _charge(
    desk: Desk, asker: Asker, spec: JobSpec, key: str | None
) -> tuple[Pinned, Sequence[Predicted], tuple[Standing, ...]]:
    """What the job will probably call, drawn from the limits before anything else of it is looked at."""
    try:
        pinned = await desk.pinned.get((asker.tenant, spec.workflow, spec.version))
    except UnknownWorkflow:
        if asker.limits.rates:  # asking for what isn't there is asking, too
            await charging.charge(desk.limiter, asker.limits, _asked(asker, spec, ()), key)
        raise
    calls = definitions.predict(pinned.definition, len(json.dumps(spec.input)))
    if not asker.limits.rates:
        return pinned, calls, ()
    asked = _asked(asker, spec, calls)
    return pinned, calls, await charging.charge(desk.limiter, asker.limits, asked, key)


def _asked(asker: Asker, spec: JobSpec, calls: Sequence[Predicted]) -> charging.Request:
    tokens = sum(call.calls * (call.input_tokens + call.output_tokens) for call in calls)
    return charging.Request(asker.tenant, asker.key, ROUTE, spec.end_user, tokens)


def _give_back(desk: Desk, asker: Asker, spec: JobSpec, calls: Sequence[Predicted]) -> None:
    """No job was made: the request stays counted, its place in the queue and its tokens don't."""
    desk.backlog.leave(asker.tenant, spec.lane)
    if asker.limits.rates:
        desk.limiter.refund(charging.refund(asker.limits, _asked(asker, spec, calls)))


async def _admit(
    desk: Desk,
    asker: Asker,
    spec: JobSpec,
    pinned: Pinned,
    calls: Sequence[Predicted],
    key: str | None,
    job: JobId,
    charged: tuple[Standing, ...],
    route: str,
) -> Admitted:
    definitions.check_input(pinned.schema, spec.input)
    predicted = UNPREDICTED_NANOUSD + sum([await _price(desk, call) for call in calls])
    desk.backlog.weigh(asker.tenant, spec.lane, predicted)
    item = _item(desk, asker, spec, pinned, predicted, key, job)
    item["route"] = route
    if any(one.unit == "tokens" for one in charged):
        item["tokens"] = _asked(asker, spec, calls).tokens
    if spec.unique is not None:
        actor = replace(asker.actor, request_id=asker.request_id, address=asker.address)
        item["unique"] = uniqueness.wish(spec.unique, actor)
    row = await desk.group.submit(item)
    if row.outcome == "conflict":
        raise IdempotencyKeyReused("The key was used with another request.")
    if row.outcome == "duplicate":
        raise DuplicateJob("Another job has this unique key.", job=ids.wire("job", row.job))
    if row.outcome == "refused":
        raise BudgetExhausted.at_admission(
            asked_nanousd=min(predicted, spec.max_cost_nanousd or predicted),
            limit_nanousd=row.limit_nanousd, spent_nanousd=row.spent_nanousd, held_nanousd=row.held_nanousd,
        )  # fmt: skip
    return Admitted(
        JobId(row.job), row.outcome, pinned.number, item["max_attempts"], row.at, charged
    )  # fmt: skip


async def _price(desk: Desk, call: Predicted) -> int:
    if not desk.rungs:
        raise UnpricedModel("No model is configured.")
    provider, model = desk.rungs[min(call.rung, len(desk.rungs) - 1)]
    price = await desk.prices.get((provider, model))
    if price is None:
        raise UnpricedModel(f"{provider}/{model} has no price.", provider=provider, model=model)
    return call.calls * pricing.ceiling_nanousd(price, call.input_tokens, call.output_tokens)


def _item(
    desk: Desk,
    asker: Asker,
    spec: JobSpec,
    pinned: Pinned,
    predicted: int,
    key: str | None,
    job: JobId,
) -> dict[str, Any]:
    entry = trail.entry(
        asker.tenant, actor=asker.actor, action="job.admit", object=ids.wire("job", job),
        after={"workflow": f"{spec.workflow}@{pinned.number}", "lane": spec.lane, "priority": spec.priority},
        request_id=asker.request_id, address=asker.address,
    )  # fmt: skip
    scheduled = spec.run_at is not None
    given = json.dumps(spec.input)
    return {
        "weight": len(given) + 2_000,
        "job": str(job), "tenant": str(asker.tenant), "key": asker.key and str(asker.key),
        "intent": key,
        "fingerprint": records.fingerprint(spec.intent()).hex() if key is not None else None,
        "workflow": spec.workflow, "version": str(pinned.id), "version_number": pinned.number,
        "state": "scheduled" if scheduled else "queued", "lane": spec.lane, "priority": spec.priority,
        "cap_group": caps.group(spec.workflow, asker.key, pinned.limits), "limits": pinned.limits,
        "head_start": f"{desk.config.head_start.total_seconds():.6f} seconds",
        "input": spec.input, "max_cost_nanousd": spec.max_cost_nanousd, "predicted_nanousd": predicted,
        "max_attempts": spec.max_attempts or pinned.definition.max_attempts or desk.config.max_attempts,
        "timeout_seconds": pinned.definition.timeout_seconds,
        "run_at": spec.run_at and spec.run_at.isoformat(),
        "deadline_at": spec.deadline_at and spec.deadline_at.isoformat(),
        "metadata": spec.metadata, "tags": list(spec.tags), "end_user": spec.end_user,
        "session": spec.session, "traceparent": spec.traceparent,
        "callback": spec.callback and str(spec.callback), "account": str(ids.new()),
        "entry": str(entry.id), "entry_at": entry.at.isoformat(), "action": entry.action,
        "body": entry.body, "salt": entry.salt.hex(),
    }  # fmt: skip


async def admit_many(
    desk: Desk, asker: Asker, specs: Sequence[tuple[JobSpec, str | None]]
) -> list[Admitted | TowpathError]:
    """Each item's job or its refusal, in order; atomic per item. Items share the groups of all others."""
    return await asyncio.gather(*[_one(desk, asker, spec, key) for spec, key in specs])


async def _one(desk: Desk, asker: Asker, spec: JobSpec, key: str | None) -> Admitted | TowpathError:
    try:
        return await admit(desk, asker, spec, key=key)
    except TowpathError as refusal:
        return refusal
