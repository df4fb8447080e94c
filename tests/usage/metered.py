"""Usage lines at chosen moments, written as the ledger writes them."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal

import psycopg

from app.budgets.ledger import Place
from app.core import ids
from app.core.db import Database
from app.core.ids import HoldId, TenantId
from app.usage import meter
from app.usage.pricing import Price, Tokens
from tests.budgets import scene

DOLLAR = 1_000_000_000


@dataclass(slots=True)
class Metered:
    """One job and one price; each call of `line` is one line of them."""

    connection: psycopg.AsyncConnection[Any]
    place: Place
    price: Price

    async def line(
        self,
        at: str,
        nanousd: int,
        *,
        call: HoldId | None = None,
        kind: Literal["charge", "correction"] = "charge",
        unconfirmed: bool = False,
        tokens: Tokens | None = None,
        **labels: Any,
    ) -> HoldId:
        """One line at a moment; a correction names the call that it corrects."""
        call = call or HoldId(ids.new())
        provider, model = labels.pop("provider", "fake"), labels.pop("model", "fake-1")
        held = self.place.labels
        line = meter.Line(
            tenant=self.place.tenant, call=call, kind=kind, at=datetime.fromisoformat(at),
            job=self.place.job, attempt=self.place.attempt, step="draft",
            labels={"key": None, "workflow": held.workflow, "workflow_version": 1, "lane": held.lane,
                    "end_user": None, "tags": []} | labels,
            provider=provider, model=model, price=self.price.id,
            tokens=tokens or Tokens(input=10, output=1), estimated=False, unconfirmed=unconfirmed,
            cost_nanousd=nanousd, latency_ms=1,
        )  # fmt: skip
        await meter.write(self.connection, [line])
        return call


async def metering(db: Database, admin: psycopg.Connection, tenant: TenantId) -> Metered:
    """A meter for a tenant; the caller closes its connection."""
    return Metered(await db.connect_hot(), scene.begin(admin, tenant), scene.enter_price(admin))


def of(metered: Metered, admin: psycopg.Connection, tenant: TenantId) -> Metered:
    """The same for another tenant."""
    return replace(metered, place=scene.begin(admin, tenant))
