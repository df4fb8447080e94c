"""The task that sends one delivery. A retry is a row in Postgres, never Celery's."""

from uuid import UUID

from sqlalchemy.util.concurrency import await_only

from app.core import ids, logs
from app.core.ids import DeliveryId
from app.webhooks import deliveries
from workers import process
from workers.celery import celery


@celery.task(name="towpath.webhooks.deliver", ignore_result=True)
def deliver(delivery: str) -> None:
    """Send one delivery and record the try."""
    parts = process.parts()
    known = DeliveryId(UUID(delivery))
    with logs.bound(delivery=ids.wire("dlv", known)):
        await_only(deliveries.deliver(parts.db, parts.vault, parts.sender, known))
