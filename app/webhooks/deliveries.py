"""Deliveries: released under a lease, sent outside any transaction, recorded, and sent again by hand.

The row is the truth: a message is only a hint that a delivery was released. Locks go from the
endpoint to its deliveries.
"""

import contextlib
import random
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.core import http, ids, lists, statements
from app.core.db import Database
from app.core.errors import Invalid, NotFound
from app.core.http import Sender, Sent
from app.core.ids import DeliveryId, EndpointId, EventId, TenantId
from app.core.lists import Page
from app.outbox import events
from app.outbox.models import OutboxEvent
from app.secrets import vault as sealing
from app.secrets.errors import SecretUnreadable
from app.secrets.vault import Vault
from app.switches import levers
from app.webhooks import relay, retries, signing
from app.webhooks.config import WebhooksConfig
from app.webhooks.errors import EndpointDisabled
from app.webhooks.models import Delivery, DeliveryTry, WebhookEndpoint

LEASE: Final = timedelta(
    seconds=30
)  # twice a try's longest time: a sender silent for so long is dead
STATES: Final = ("pending", "dispatched", "delivered", "failed")
SYSTEM: Final = trail.Actor("system", "webhooks")

_LAPSE: Final = statements.load(__file__, "lapse")
_DUE_ENDPOINTS: Final = statements.load(__file__, "due_endpoints")
_DUE: Final = statements.load(__file__, "due")
_CLAIM: Final = statements.load(__file__, "claim")
_RECORD: Final = statements.load(__file__, "record")
_END_WAITING: Final = statements.load(__file__, "end_waiting")
_NOTIFY: Final = text(f"SELECT pg_notify('{relay.CHANNEL}', '')")

# Jitter needs no secrecy.
_RNG: Final = random.Random()  # noqa: S311

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a sender needs: where, what, signed by which secrets, and the fence of what it records."""

    delivery: DeliveryId
    tenant: TenantId
    endpoint: EndpointId
    event: EventId
    tries: int
    claimed_at: datetime
    url: str
    body: bytes
    secrets: list[str]


@dataclass(frozen=True, slots=True)
class Try:
    """One request and how it ended, as the delivery log shows it."""

    number: int
    at: datetime
    status: int | None
    error: str | None
    duration_ms: int


@dataclass(frozen=True, slots=True)
class Logged:
    """One delivery, as the delivery log shows it. `due_at`: the next try, while it is open."""

    id: DeliveryId
    event: EventId
    event_name: str
    generation: int
    state: str
    reason: str | None
    due_at: datetime | None
    created_at: datetime
    finished_at: datetime | None
    tries: list[Try]


async def due(db: Database, config: WebhooksConfig, limit: int) -> list[DeliveryId]:
    """Release up to `limit` of what is due: the ids to publish, each under a lease.

    None while `webhooks` is switched off.

    First the deliveries whose sender went silent are due again.
    """
    async with db.transaction() as session:
        await session.execute(_LAPSE.text)
        if "webhooks" in await levers.off(session):
            return []
        endpoints = (await session.execute(_DUE_ENDPOINTS.text)).scalars().all()
        if not endpoints:
            return []
        bind = {
            "endpoints": list(endpoints),
            "per_endpoint": config.per_endpoint,
            "in_flight": config.in_flight,
            "limit": limit,
            "lease": LEASE,
        }
        released = (await session.execute(_DUE.text, bind)).scalars().all()
    return sorted(DeliveryId(delivery) for delivery in released)


async def deliver(db: Database, vault: Vault, sender: Sender, delivery: DeliveryId) -> None:
    """Send a released delivery once and record the try. A late or duplicate message does nothing.

    Die between claim and record and the lease brings the delivery back: it may arrive twice, under
    the same id.
    """
    async with _autocommit(db) as session:
        claimed = await _claim(session, vault, delivery)
    if claimed is None:
        return
    headers = {
        "content-type": "application/json",
        "user-agent": "Towpath-Webhooks/1",
        **signing.headers(
            ids.wire("evt", claimed.event), claimed.claimed_at, claimed.body, claimed.secrets
        ),
    }
    sent = await http.post(sender, claimed.url, claimed.body, headers)
    verdict = retries.after(claimed.tries + 1, sent, _RNG)
    if verdict.gone:
        async with db.transaction() as session:
            await _disable(session, claimed)
            await _record(session, claimed, sent, verdict)
    else:
        async with _autocommit(db) as session:
            await _record(session, claimed, sent, verdict)


async def listed(
    session: AsyncSession,
    tenant: TenantId,
    endpoint: EndpointId,
    *,
    limit: int,
    cursor: str | None = None,
    states: Collection[str] = STATES,
) -> Page[Logged]:
    """The delivery log of an endpoint, newest first. Raises NotFound, or Invalid for the cursor."""
    await _visible(session, tenant, endpoint)
    asked = select(Delivery, OutboxEvent.name).join(OutboxEvent, OutboxEvent.id == Delivery.event)
    asked = asked.where(Delivery.tenant == tenant, Delivery.endpoint == endpoint)
    if set(states) != set(STATES):
        asked = asked.where(Delivery.state.in_(states))
    if cursor is not None:
        last = lists.after(cursor)
        if last is None:
            raise Invalid.at("/cursor", "is not a cursor of this list")
        asked = asked.where(Delivery.id < last)
    rows = (await session.execute(asked.order_by(Delivery.id.desc()).limit(limit + 1))).all()
    shown, more = rows[:limit], len(rows) > limit
    tries = await _tries(session, tenant, [delivery.id for delivery, _ in shown])
    items = [_logged(delivery, name, tries.get(delivery.id, [])) for delivery, name in shown]
    return Page(items, lists.cursor(items[-1].id) if more else None)


async def get(
    session: AsyncSession, tenant: TenantId, endpoint: EndpointId, delivery: DeliveryId
) -> Logged:
    """One delivery of an endpoint. Raises NotFound, also for another endpoint's delivery."""
    await _visible(session, tenant, endpoint)
    asked = (
        select(Delivery, OutboxEvent.name)
        .join(OutboxEvent, OutboxEvent.id == Delivery.event)
        .where(Delivery.tenant == tenant, Delivery.endpoint == endpoint, Delivery.id == delivery)
    )
    row = (await session.execute(asked)).one_or_none()
    if row is None:
        raise NotFound
    tries = await _tries(session, tenant, [delivery])
    return _logged(row[0], row[1], tries.get(delivery, []))


async def redeliver(
    session: AsyncSession, tenant: TenantId, endpoint: EndpointId, delivery: DeliveryId
) -> DeliveryId:
    """Send an event again, under its own id: a new delivery, or the open one hastened.

    Raises NotFound or EndpointDisabled. Locks the endpoint, so that two at once make one generation each.
    """
    state = await _visible(session, tenant, endpoint, lock=True)
    asked = select(Delivery.event).where(
        Delivery.tenant == tenant, Delivery.endpoint == endpoint, Delivery.id == delivery
    )
    event = (await session.execute(asked)).scalar_one_or_none()
    if event is None:
        raise NotFound
    if state != "enabled":
        raise EndpointDisabled
    newest = (
        select(Delivery.id, Delivery.state, Delivery.generation)
        .where(Delivery.endpoint == endpoint, Delivery.event == event)
        .order_by(Delivery.generation.desc())
        .limit(1)
    )
    latest = (await session.execute(newest)).one()
    if latest.state == "pending":
        hasten = (
            update(Delivery)
            .where(Delivery.id == latest.id, Delivery.state == "pending")
            .values(due_at=func.app_now())
        )
        await session.execute(hasten)
    if latest.state in ("pending", "dispatched"):
        await session.execute(_NOTIFY)
        return DeliveryId(latest.id)
    return await make(session, tenant, endpoint, event, generation=latest.generation + 1)


async def make(
    session: AsyncSession,
    tenant: TenantId,
    endpoint: EndpointId,
    event: EventId,
    *,
    generation: int = 0,
) -> DeliveryId:
    """A delivery that is due now, apart from the relay: a test, or an event sent again."""
    made = DeliveryId(ids.new())
    row = {
        "id": made,
        "tenant": tenant,
        "endpoint": endpoint,
        "event": event,
        "generation": generation,
        "state": "pending",
        "due_at": func.app_now(),
        "created_at": func.app_now(),
    }
    await session.execute(insert(Delivery).values(row))
    await session.execute(_NOTIFY)
    return made


async def end_waiting(session: AsyncSession, endpoint: EndpointId, reason: str) -> int:
    """End every delivery that waits for this endpoint, whose row the caller has locked. Gives how many."""
    ended = await session.execute(_END_WAITING.text, {"endpoint": endpoint, "reason": reason})
    return len(ended.all())


@contextlib.asynccontextmanager
async def _autocommit(db: Database) -> AsyncIterator[AsyncSession]:
    """Each statement its own transaction: half the round trips of a delivery, each a context switch."""
    async with db.sessions() as session:
        _ = await session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        yield session


async def _claim(session: AsyncSession, vault: Vault, delivery: DeliveryId) -> Claimed | None:
    bind = {"delivery": delivery, "lease": LEASE}
    row = (await session.execute(_CLAIM.text, bind)).one_or_none()
    if row is None:
        return None
    refusal, secrets = None, []
    if row.state != "enabled":
        refusal = f"the endpoint is {row.state}"
    else:
        held = [secret for secret in (row.secret, row.old_secret) if secret is not None]
        try:
            secrets = [await sealing.reveal(session, vault, row.tenant, one) for one in held]
        except SecretUnreadable:
            refusal = "the endpoint's secret can't be read: rotate it"
    if refusal is not None:
        await _end_unsent(session, row, refusal)
        return None
    return Claimed(
        row.delivery, row.tenant, row.endpoint, row.event, row.tries, row.claimed_at, row.url,
        events.body(row.name, row.subject, row.at, row.facts), secrets,
    )  # fmt: skip


async def _end_unsent(session: AsyncSession, row: Any, reason: str) -> None:
    """A claimed delivery that no request will be made for."""
    ended = (
        update(Delivery)
        .where(Delivery.id == row.delivery, Delivery.claimed_at == row.claimed_at)
        .values(
            state="failed", reason=reason, finished_at=func.app_now(), lease_until=None, claimed_at=None
        )
    )  # fmt: skip
    await session.execute(ended)


async def _record(
    session: AsyncSession, claimed: Claimed, sent: Sent, verdict: retries.Verdict
) -> None:
    bind = {
        "delivery": claimed.delivery,
        "claimed_at": claimed.claimed_at,
        "state": verdict.state,
        "reason": verdict.reason,
        "delay": verdict.delay,
        "status": sent.status,
        "error": sent.error,
        "duration_ms": sent.duration_ms,
    }
    number = (await session.execute(_RECORD.text, bind)).scalar_one_or_none()
    log.info(
        "delivery tried", delivery=ids.wire("dlv", claimed.delivery), number=number,
        state=verdict.state, status=sent.status, reason=verdict.reason, duration_ms=sent.duration_ms,
    )  # fmt: skip


async def _disable(session: AsyncSession, claimed: Claimed) -> None:
    """410 Gone: nothing more goes to this endpoint until somebody enables it by hand; its owner is told."""
    closing = (
        update(WebhookEndpoint)
        .where(WebhookEndpoint.id == claimed.endpoint, WebhookEndpoint.state == "enabled")
        .values(state="disabled", disabled_reason=retries.GONE_REASON)
        .returning(WebhookEndpoint.id)
    )
    if (await session.execute(closing)).scalar_one_or_none() is None:
        return
    ended = await end_waiting(session, claimed.endpoint, retries.GONE_REASON)
    wire = ids.wire("whe", claimed.endpoint)
    entry = trail.entry(
        claimed.tenant, actor=SYSTEM, action="webhook_endpoint.disable", object=wire,
        before={"state": "enabled"}, after={"state": "disabled", "deliveries_ended": ended},
        reason=retries.GONE_REASON,
    )  # fmt: skip
    await trail.append(session, entry)
    facts = {"status": "disabled", "reason": retries.GONE_REASON}
    await events.record(session, claimed.tenant, events.ENDPOINT_DISABLED, claimed.endpoint, facts)


async def _visible(
    session: AsyncSession, tenant: TenantId, endpoint: EndpointId, *, lock: bool = False
) -> str:
    """The state of a tenant's endpoint that isn't deleted. Raises NotFound."""
    asked = select(WebhookEndpoint.state).where(
        WebhookEndpoint.tenant == tenant,
        WebhookEndpoint.id == endpoint,
        WebhookEndpoint.state != "deleted",
    )
    if lock:
        asked = asked.with_for_update(key_share=True)
    state = (await session.execute(asked)).scalar_one_or_none()
    if state is None:
        raise NotFound
    return state


async def _tries(
    session: AsyncSession, tenant: TenantId, deliveries: Sequence[DeliveryId]
) -> dict[DeliveryId, list[Try]]:
    asked = (
        select(DeliveryTry)
        .where(DeliveryTry.tenant == tenant, DeliveryTry.delivery.in_(deliveries))
        .order_by(DeliveryTry.delivery, DeliveryTry.number)
    )
    found: dict[DeliveryId, list[Try]] = {}
    for row in (await session.execute(asked)).scalars():
        one = Try(row.number, row.at, row.status, row.error, row.duration_ms)
        found.setdefault(row.delivery, []).append(one)
    return found


def _logged(delivery: Delivery, name: str, tries: list[Try]) -> Logged:
    return Logged(
        delivery.id, delivery.event, name, delivery.generation, delivery.state, delivery.reason,
        delivery.due_at if delivery.finished_at is None else None, delivery.created_at,
        delivery.finished_at, tries,
    )  # fmt: skip
