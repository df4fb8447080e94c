"""A tenant's endpoint at a real receiver, and the steps of a delivery one by one."""

import asyncio
import json
from dataclasses import dataclass, replace
from typing import Any

import psycopg
from pydantic import SecretStr
from sqlalchemy import text
from standardwebhooks import Webhook

from app.audit import trail
from app.core import http, ids
from app.core.db import Database
from app.core.ids import DeliveryId, EndpointId, EventId, JobId, TenantId
from app.secrets import vault
from app.secrets.config import SecretsConfig
from app.secrets.vault import Vault
from app.webhooks import deliveries, endpoints, relay
from app.webhooks.config import WebhooksConfig
from app.webhooks.endpoints import CheckedUrl
from tests.fakes.receiver import Got, Receiver

ACTOR = trail.Actor("key", "key_test")
CONFIG = WebhooksConfig()


def open_vault(key: str = "07" * 32) -> Vault:
    return vault.open_vault(SecretsConfig(key=SecretStr(key)))


@dataclass(frozen=True)
class Scene:
    """Everything a delivery needs, with the operator's list holding the receiver alone."""

    db: Database
    vault: Vault
    sender: http.Sender
    tenant: TenantId
    admin: psycopg.Connection

    def of(self, tenant: TenantId) -> "Scene":
        return replace(self, tenant=tenant)

    async def endpoint(self, url: str, *events: str) -> tuple[EndpointId, str]:
        """An endpoint and its secret."""
        made = EndpointId(ids.new())
        async with self.db.transaction() as session:
            secret = await endpoints.create(
                session, self.vault, self.tenant, made, url=CheckedUrl(url), events=events or ("*",),
                description="", actor=ACTOR,
            )  # fmt: skip
        return made, secret

    def event(
        self, name: str = "job.succeeded", subject: JobId | None = None, **facts: Any
    ) -> EventId:
        """An event as the finish of a job leaves it."""
        event = EventId(ids.new())
        status = name.removeprefix("job.")
        self.admin.execute(
            "INSERT INTO outbox_event (id, tenant, name, subject, payload, at)"
            " VALUES (%s, %s, %s, %s, %s, app_now())",
            (
                event,
                self.tenant,
                name,
                subject or ids.new(),
                json.dumps({"status": status, **facts}),
            ),
        )
        return event

    async def release(
        self, config: WebhooksConfig = CONFIG, limit: int = 1_000
    ) -> list[DeliveryId]:
        """Relay what waits and release what is due."""
        while await relay.relay(self.db):
            pass
        return await deliveries.due(self.db, config, limit)

    async def deliver(self, released: list[DeliveryId]) -> None:
        """Send these, all at once."""
        sending = [deliveries.deliver(self.db, self.vault, self.sender, one) for one in released]
        await asyncio.gather(*sending)

    async def run(self) -> None:
        """Relay, release and send, once."""
        await self.deliver(await self.release())

    def hasten(self) -> None:
        """What waits for its next try is due now."""
        self.admin.execute("UPDATE delivery SET due_at = app_now() WHERE state = 'pending'")

    async def log(self, endpoint: EndpointId) -> list[deliveries.Logged]:
        """The delivery log, oldest first."""
        async with self.db.transaction() as session:
            page = await deliveries.listed(session, self.tenant, endpoint, limit=1_000)
        return page.items[::-1]

    async def states(self) -> dict[str, int]:
        async with self.db.transaction() as session:
            rows = await session.execute(
                text("SELECT state, count(*) FROM delivery GROUP BY state")
            )
            return {row[0]: row[1] for row in rows}


def sender_to(*receivers: Receiver, seconds: float = 5) -> http.Sender:
    """A sender that may reach these receivers, and no private address else."""
    allowed = frozenset[str]().union(*(one.allowed for one in receivers))

    async def nowhere(host: str, port: int) -> list[str]:
        return ["10.0.0.1"]

    return http.open_sender(allowed, seconds, nowhere)


def verify(secret: str, got: Got) -> None:
    """Raises WebhookVerificationError where the signature is not this secret's."""
    Webhook(secret).verify(got.body, got.headers, json_parse=False)
