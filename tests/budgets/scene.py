"""What tests of money arrange: a running attempt to spend under, and a look at what was booked."""

from dataclasses import dataclass, replace
from typing import Any

import psycopg
from psycopg.rows import dict_row, namedtuple_row

from app.budgets import ledger
from app.budgets.ledger import Held, Labels, Ledger, Place, Recorded
from app.core import clock, ids
from app.core.ids import AttemptId, HoldId, PriceId, TenantId, VersionId
from app.usage.pricing import Price, Tokens
from tests.arrange import make_jobs, make_workflow

MODEL = ("fake", "fake-1")


def enter_price(
    admin: psycopg.Connection, model: tuple[str, str] = MODEL, *, picousd: int = 1_000
) -> Price:
    """A price from the year 2020 on, the same for every class: 1,000 pico-dollars make a nano-dollar."""
    price = Price(PriceId(ids.new()), *model, clock.now().replace(year=2020), *(picousd,) * 4)
    admin.execute(
        "INSERT INTO price VALUES (%s, %s, %s, %s, %s, %s, %s, %s, app_now())",
        (price.id, *model, price.from_at, *(picousd,) * 4),
    )
    return price


def begin(
    admin: psycopg.Connection, tenant: TenantId, *, max_cost_nanousd: int | None = None
) -> Place:
    """A running job under its first attempt; with a maximum it has an account of its own."""
    found = admin.execute("SELECT id FROM workflow_version WHERE tenant = %s", (tenant,)).fetchone()
    version = VersionId(found[0]) if found else make_workflow(admin, tenant)
    attempt = AttemptId(ids.new())
    (job,) = make_jobs(
        admin, tenant, version, state="running", current_attempt=attempt, started_at=clock.now(),
        max_cost_nanousd=max_cost_nanousd,
    )  # fmt: skip
    if max_cost_nanousd is not None:
        admin.execute(
            "INSERT INTO budget_account (id, tenant, kind, job, limit_nanousd, created_at)"
            " VALUES (%s, %s, 'job', %s, %s, app_now())",
            (ids.new(), tenant, job, max_cost_nanousd),
        )
    place = Place(tenant, job, attempt, "draft", Labels(None, "noop", 1, "standard"))
    _attempt(admin, place, 1)
    return place


def resume(admin: psycopg.Connection, place: Place) -> Place:
    """The same place under the next attempt; the one before has ended as lost."""
    end(admin, place)
    again = replace(place, attempt=AttemptId(ids.new()))
    _attempt(admin, again, 2)
    return again


def end(admin: psycopg.Connection, place: Place) -> None:
    """The attempt has ended as lost."""
    admin.execute(
        "UPDATE attempt SET state = 'ended', ended_at = app_now(), outcome = 'lost' WHERE id = %s",
        (place.attempt,),
    )


def _attempt(admin: psycopg.Connection, place: Place, number: int) -> None:
    admin.execute(
        "INSERT INTO attempt (id, tenant, job, run, number, state, worker, lease_until, dispatched_at,"
        " claimed_at) VALUES (%s, %s, %s, 1, %s, 'running', %s, app_now() + interval '6 s',"
        " app_now(), app_now())",
        (place.attempt, place.tenant, place.job, number, ids.new()),
    )


@dataclass(slots=True)
class Spender:
    """A ledger, a price and a place: what every call of a test needs."""

    ledger: Ledger
    price: Price

    async def hold(self, place: Place, nanousd: int, id_: HoldId | None = None) -> Held | Recorded:
        """Hold so many nano-dollars, all of it for output."""
        return await ledger.reserve(
            self.ledger, place, provider=self.price.provider, model=self.price.model,
            price=self.price, input_bound_tokens=0, max_output_tokens=nanousd,
            hold=id_ or HoldId(ids.new()),
        )  # fmt: skip

    async def held(self, place: Place, nanousd: int) -> HoldId:
        """The same, where it is certain to fit."""
        outcome = await self.hold(place, nanousd)
        assert isinstance(outcome, Held)
        return outcome.hold

    async def settle(
        self, hold: HoldId, nanousd: int, *, reply: dict[str, Any] | None = None
    ) -> Any:
        """Settle at so many nano-dollars, all of it output."""
        return await ledger.settle(
            self.ledger, hold, cost_nanousd=nanousd, tokens=Tokens(input=0, output=nanousd),
            estimated=False, latency_ms=5, reply=reply,
        )  # fmt: skip


def account(admin: psycopg.Connection, tenant: TenantId, kind: str = "tenant") -> tuple[int, int]:
    """(spent, held) of the tenant's account, or of its only job's."""
    row = admin.execute(
        "SELECT spent_nanousd, held_nanousd FROM budget_account WHERE tenant = %s AND kind = %s",
        (tenant, kind),
    ).fetchone()
    assert row is not None
    return (row[0], row[1])


def lines(admin: psycopg.Connection) -> list[Any]:
    """All usage lines, in the order they were written."""
    cursor = admin.cursor(row_factory=namedtuple_row)
    return cursor.execute("SELECT * FROM usage_line ORDER BY id").fetchall()


def reservation(admin: psycopg.Connection, hold: HoldId) -> dict[str, Any]:
    """One hold as it stands."""
    cursor = admin.cursor(row_factory=dict_row)
    row = cursor.execute("SELECT * FROM reservation WHERE id = %s", (hold,)).fetchone()
    assert row is not None
    return row


def balanced(admin: psycopg.Connection) -> None:
    """Every account is the sum of its entries, and tenants' spend is the sum of their usage lines."""
    drift = admin.execute(
        "SELECT a.id FROM budget_account a LEFT JOIN ledger_entry e ON e.account = a.id GROUP BY a.id"
        " HAVING a.spent_nanousd <> coalesce(sum(e.spent_nanousd), 0)"
        "     OR a.held_nanousd <> coalesce(sum(e.held_nanousd), 0)"
    ).fetchall()
    assert drift == []
    spent = admin.execute(
        "SELECT a.tenant FROM budget_account a LEFT JOIN usage_line l ON l.tenant = a.tenant"
        " WHERE a.kind = 'tenant' GROUP BY a.id"
        " HAVING a.spent_nanousd <> coalesce(sum(l.cost_nanousd), 0)"
    ).fetchall()
    assert spent == []
    open_ = admin.execute(
        "SELECT coalesce(sum(asked_nanousd), 0) FROM reservation WHERE state = 'held'"
    ).fetchone()
    held = admin.execute(
        "SELECT coalesce(sum(held_nanousd), 0) FROM budget_account WHERE kind = 'tenant'"
    ).fetchone()
    assert held == open_
