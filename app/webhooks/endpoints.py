"""Endpoints of a tenant: where it wants to be told, of what, and under which secret."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, NewType

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.audit import trail
from app.audit.actions import Action
from app.core import http, ids, lists
from app.core.db import Database
from app.core.errors import Invalid, NotFound
from app.core.http import Sender
from app.core.ids import DeliveryId, EndpointId, TenantId
from app.core.lists import Page
from app.outbox import events as names
from app.secrets import vault as sealing
from app.secrets.vault import Vault
from app.webhooks import deliveries, signing
from app.webhooks.errors import EndpointDisabled
from app.webhooks.models import WebhookEndpoint

MAX_ENDPOINTS: Final = 20  # of a tenant: each may hold its own share of the senders
ROTATION: Final = timedelta(hours=24)  # how long the old secret still signs
DESCRIPTION_LENGTH: Final = 500
PURPOSE: Final = "webhook"
BY_HAND: Final = "disabled by hand"
DELETED: Final = "the endpoint was deleted"

# A look-up that takes longer says nothing about the url; each request is checked again anyway.
_LOOK_UP_SECONDS: Final = 3.0

CheckedUrl = NewType("CheckedUrl", str)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as its tenant sees it. `old_secret_until`: both secrets sign until then."""

    id: EndpointId
    url: str
    description: str
    events: list[str]
    state: str
    disabled_reason: str | None
    old_secret_until: datetime | None
    created_at: datetime


async def check_url(sender: Sender, url: str) -> CheckedUrl:
    """The url, if requests may go there. Raises Invalid. May look a name up: hold no transaction open."""
    fault = await http.fault(sender, url, timeout_seconds=_LOOK_UP_SECONDS)
    if fault is not None:
        raise Invalid.at("/url", fault)
    return CheckedUrl(url)


async def create(
    session: AsyncSession,
    vault: Vault,
    tenant: TenantId,
    endpoint: EndpointId,
    *,
    url: CheckedUrl,
    events: Sequence[str],
    description: str,
    actor: trail.Actor,
    request_id: str | None = None,
) -> str:
    """Register an endpoint under an id made before. Gives its secret, which is never shown again.

    `events` are names, or `*` alone, or none: then it is told of the jobs that name it. Raises Invalid.
    """
    wanted = _events(events)
    _description(description)
    held = select(func.count()).where(
        WebhookEndpoint.tenant == tenant, WebhookEndpoint.state != "deleted"
    )
    if (await session.execute(held)).scalar_one() >= MAX_ENDPOINTS:
        raise Invalid(f"A tenant may have {MAX_ENDPOINTS} endpoints; delete one first.")
    secret = signing.new_secret()
    row = {
        "id": endpoint,
        "tenant": tenant,
        "url": url,
        "description": description,
        "events": wanted,
        "secret": await sealing.store(session, vault, tenant, PURPOSE, secret),
        "state": "enabled",
        "created_at": func.app_now(),
    }
    await session.execute(insert(WebhookEndpoint).values(row))
    after = {"url": url, "events": wanted, "description": description, "state": "enabled"}
    await _audit(
        session, tenant, endpoint, "webhook_endpoint.create", actor, request_id, after=after
    )
    return secret


async def get(session: AsyncSession, tenant: TenantId, endpoint: EndpointId) -> Endpoint:
    """One endpoint. Raises NotFound."""
    return _seen(await _row(session, tenant, endpoint))


async def at(
    session: AsyncSession, tenant: TenantId, urls: Collection[str]
) -> dict[str, EndpointId]:
    """The enabled endpoint at each of these urls, the oldest where there are several; others are absent."""
    asked = (
        select(WebhookEndpoint.url, WebhookEndpoint.id)
        .where(
            WebhookEndpoint.tenant == tenant,
            WebhookEndpoint.state == "enabled",
            WebhookEndpoint.url.in_(urls),
        )
        .order_by(WebhookEndpoint.id.desc())
    )
    rows = (await session.execute(asked)).all()
    return {row.url: row.id for row in rows}


async def listed(
    session: AsyncSession, tenant: TenantId, *, limit: int, cursor: str | None = None
) -> Page[Endpoint]:
    """The tenant's endpoints, newest first. Raises Invalid for the cursor."""
    asked = select(WebhookEndpoint).where(
        WebhookEndpoint.tenant == tenant, WebhookEndpoint.state != "deleted"
    )
    if cursor is not None:
        last = lists.after(cursor)
        if last is None:
            raise Invalid.at("/cursor", "is not a cursor of this list")
        asked = asked.where(WebhookEndpoint.id < last)
    ordered = asked.order_by(WebhookEndpoint.id.desc()).limit(limit + 1)
    rows = (await session.execute(ordered)).scalars().all()
    items = [_seen(row) for row in rows[:limit]]
    return Page(items, lists.cursor(items[-1].id) if len(rows) > limit else None)


async def change(
    session: AsyncSession,
    tenant: TenantId,
    endpoint: EndpointId,
    *,
    actor: trail.Actor,
    url: CheckedUrl | None = None,
    events: Sequence[str] | None = None,
    description: str | None = None,
    enabled: bool | None = None,
    request_id: str | None = None,
) -> Endpoint:
    """Change what is given. Disabling ends the deliveries that wait; what is missed can be sent again by hand.

    Raises NotFound or Invalid. Locks the endpoint, then its waiting deliveries.
    """
    row = await _row(session, tenant, endpoint, lock=True)
    before = _seen(row)
    changes: dict[str, Any] = {}
    if url is not None:
        changes["url"] = url
    if events is not None:
        changes["events"] = _events(events)
    if description is not None:
        changes["description"] = _description(description)
    if enabled is not None and enabled != (row.state == "enabled"):
        changes["state"] = "enabled" if enabled else "disabled"
        changes["disabled_reason"] = None if enabled else BY_HAND
    changes = {name: new for name, new in changes.items() if new != getattr(before, name)}
    if not changes:
        return before
    await session.execute(
        update(WebhookEndpoint).where(WebhookEndpoint.id == endpoint).values(changes)
    )
    if changes.get("state") == "disabled":
        await deliveries.end_waiting(session, endpoint, BY_HAND)
    old = {name: getattr(before, name) for name in changes}
    await _audit(
        session,
        tenant,
        endpoint,
        "webhook_endpoint.change",
        actor,
        request_id,
        before=old,
        after=changes,
    )
    return await get(session, tenant, endpoint)


async def delete(
    session: AsyncSession,
    tenant: TenantId,
    endpoint: EndpointId,
    *,
    actor: trail.Actor,
    request_id: str | None = None,
) -> None:
    """Delete an endpoint and its secrets. Its deliveries stay as a record, and are shown no more.

    Raises NotFound. Locks the endpoint, then its waiting deliveries.
    """
    row = await _row(session, tenant, endpoint, lock=True)
    secrets = [secret for secret in (row.secret, row.old_secret) if secret is not None]
    closing = (
        update(WebhookEndpoint)
        .where(WebhookEndpoint.id == endpoint)
        .values(state="deleted", secret=None, old_secret=None, old_secret_until=None)
    )
    await session.execute(closing)
    for secret in secrets:
        await sealing.discard(session, tenant, secret)
    await deliveries.end_waiting(session, endpoint, DELETED)
    before = {"url": row.url, "events": row.events, "state": row.state}
    await _audit(
        session, tenant, endpoint, "webhook_endpoint.delete", actor, request_id, before=before
    )


async def rotate_secret(
    session: AsyncSession,
    vault: Vault,
    tenant: TenantId,
    endpoint: EndpointId,
    *,
    actor: trail.Actor,
    request_id: str | None = None,
) -> str:
    """A new secret, shown once; the one before it signs beside it for 24 h more. Raises NotFound.

    A second rotation within that time drops the oldest at once. Locks the endpoint.
    """
    row = await _row(session, tenant, endpoint, lock=True)
    secret = signing.new_secret()
    dropped = row.old_secret
    turning = (
        update(WebhookEndpoint)
        .where(WebhookEndpoint.id == endpoint)
        .values(
            secret=await sealing.store(session, vault, tenant, PURPOSE, secret),
            old_secret=row.secret,
            old_secret_until=func.app_now() + ROTATION,
        )
    )
    await session.execute(turning)
    if dropped is not None:
        await sealing.discard(session, tenant, dropped)
    await _audit(session, tenant, endpoint, "webhook_endpoint.rotate_secret", actor, request_id)
    return secret


async def forget_old_secrets(db: Database) -> int:
    """Destroy the secrets whose 24 hours beside the new one are over. Gives how many. Safe to run twice."""
    over = (
        select(WebhookEndpoint.id, WebhookEndpoint.tenant, WebhookEndpoint.old_secret)
        .where(WebhookEndpoint.old_secret_until <= func.app_now())
        .with_for_update(key_share=True, skip_locked=True)
    )
    async with db.transaction() as session:
        rows = (await session.execute(over)).all()
        cleared = update(WebhookEndpoint).where(WebhookEndpoint.id.in_([row.id for row in rows]))
        await session.execute(cleared.values(old_secret=None, old_secret_until=None))
        for row in rows:
            await sealing.discard(session, row.tenant, row.old_secret)
    return len(rows)


async def send_test(session: AsyncSession, tenant: TenantId, endpoint: EndpointId) -> DeliveryId:
    """Send a test event to this endpoint alone. Raises NotFound or EndpointDisabled."""
    row = await _row(session, tenant, endpoint)
    if row.state != "enabled":
        raise EndpointDisabled
    event = await names.record(
        session, tenant, names.ENDPOINT_TEST, endpoint, {"test": True}, relayed=True
    )
    return await deliveries.make(session, tenant, endpoint, event)


async def _row(
    session: AsyncSession, tenant: TenantId, endpoint: EndpointId, *, lock: bool = False
) -> WebhookEndpoint:
    asked = select(WebhookEndpoint).where(
        WebhookEndpoint.tenant == tenant,
        WebhookEndpoint.id == endpoint,
        WebhookEndpoint.state != "deleted",
    )
    if lock:
        asked = asked.with_for_update(key_share=True)
    # Rows are not identities here: what another statement of this transaction changed must be seen.
    fresh = asked.execution_options(populate_existing=True)
    row = (await session.execute(fresh)).scalar_one_or_none()
    if row is None:
        raise NotFound
    return row


async def _audit(
    session: AsyncSession,
    tenant: TenantId,
    endpoint: EndpointId,
    action: Action,
    actor: trail.Actor,
    request_id: str | None,
    *,
    before: dict[str, Any] | None = None,
    after: dict[str, Any] | None = None,
) -> None:
    entry = trail.entry(
        tenant, actor=actor, action=action, object=ids.wire("whe", endpoint),
        before=before, after=after, request_id=request_id,
    )  # fmt: skip
    await trail.append(session, entry)


def _events(wanted: Sequence[str]) -> list[str]:
    if list(wanted) == ["*"]:
        return ["*"]
    faults = [
        {"pointer": f"/events/{n}", "message": f"is not one of {', '.join(names.EVENTS)}"}
        for n, name in enumerate(wanted)
        if name not in names.EVENTS
    ]
    if faults:
        raise Invalid("These events can't be subscribed to.", errors=faults)
    return sorted(set(wanted), key=names.EVENTS.index)


def _description(text: str) -> str:
    if len(text) > DESCRIPTION_LENGTH:
        raise Invalid.at("/description", f"is longer than {DESCRIPTION_LENGTH} characters")
    return text


def _seen(row: WebhookEndpoint) -> Endpoint:
    return Endpoint(
        row.id, row.url, row.description, list(row.events), row.state, row.disabled_reason,
        row.old_secret_until, row.created_at,
    )  # fmt: skip
