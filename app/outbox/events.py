"""Names of the events that a tenant can be told of, and how one reads on the wire.

A row holds the facts alone; the body is made from the row, byte for byte the same each time, since
what is signed must be what is sent. Source: Standard Webhooks 1.0.0 (type, timestamp, data; thin).
"""

import json
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import func, insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.core import clock, ids
from app.core.ids import EventId, TenantId
from app.outbox.models import OutboxEvent

JOB_EVENTS: Final = ("job.succeeded", "job.failed", "job.cancelled", "job.expired", "job.waiting")
ENDPOINT_DISABLED: Final = "webhook_endpoint.disabled"
ENDPOINT_TEST: Final = (
    "webhook_endpoint.test"  # sent by hand to one endpoint; nobody subscribes to it
)
EVENTS: Final = (*JOB_EVENTS, ENDPOINT_DISABLED)

BODY_BYTES: Final = 20_000
_PREFIX: Final = {"job": "job", "webhook_endpoint": "whe"}


def body(name: str, subject: UUID, at: datetime, facts: str) -> bytes:
    """The JSON body of an event. `facts` is the stored payload as Postgres writes it, an object.

    Kept as text: read and written again, a number such as 1.0 or 1e400 would be another one.
    """
    kind = name.partition(".")[0]
    told = {"type": name, "timestamp": clock.wire(at)}
    known = {"id": ids.wire(_PREFIX[kind], subject), "object": kind}
    whole = _joined(told, known, facts)
    if len(whole) > BODY_BYTES:  # the receiver can ask for the job itself
        few = {key: held for key, held in json.loads(facts).items() if key != "metadata"}
        whole = _joined(told, known, json.dumps(few, ensure_ascii=False))
    return whole


async def record(
    session: AsyncSession,
    tenant: TenantId,
    name: str,
    subject: UUID,
    facts: dict[str, Any],
    *,
    relayed: bool = False,
) -> EventId:
    """Store an event with the change that it tells of. `relayed`: its caller makes the deliveries."""
    event = EventId(ids.new())
    row = {
        "id": event,
        "tenant": tenant,
        "name": name,
        "subject": subject,
        "payload": facts,
        "at": func.app_now(),
        "relayed_at": func.app_now() if relayed else None,
    }
    await session.execute(insert(OutboxEvent).values(row))
    return event


def _joined(told: dict[str, str], known: dict[str, str], facts: str) -> bytes:
    head, start = json.dumps(told)[:-1], json.dumps(known)[:-1]
    rest = facts.strip()[1:]
    comma = "" if rest == "}" else ", "
    return f'{head}, "data": {start}{comma}{rest}}}'.encode()
