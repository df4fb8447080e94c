"""`towpath admin limits` and `plans`: how fast tenants may ask, and how much of theirs may wait."""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from app.cli import operating, showing
from app.cli.showing import AsJson
from app.core import money
from app.core.errors import Invalid, NotFound
from app.jobs.states import LANES
from app.tenants import directory, limits, plans
from app.tenants.limits import Ceiling, Rate
from app.tenants.models import Tenant

_PLAN: Final = "plan:"

app = typer.Typer(help="Rates of requests and tokens, ceilings of queues.", no_args_is_help=True)
plans_app = typer.Typer(help="Limits that many tenants share.", no_args_is_help=True)

Owner = Annotated[str, typer.Argument(help="A tenant's slug, or `plan:NAME`.")]
Reason = Annotated[str, typer.Option(help="Why; it stays in the audit trail.")]


@plans_app.command("create")
def create_plan(name: str, json_: AsJson = False) -> None:
    """Make a plan, without a limit at first."""

    async def work(session: AsyncSession) -> dict[str, Any]:
        await plans.create(session, name, actor=operating.actor())
        return {"plan": name}

    showing.show(operating.transact(work), json_)


@plans_app.command("list")
def list_plans(json_: AsJson = False) -> None:
    """All plans with their limits, by name."""

    async def work(session: AsyncSession) -> list[dict[str, Any]]:
        return [
            {"name": plan.name, "limits": _rows(plan.limits, {})}
            for plan in await plans.listed(session)
        ]

    showing.show_all(operating.transact(work), json_)


@app.command("show")
def show_limits(owner: Owner, json_: AsJson = False) -> None:
    """The limits in force."""
    showing.show_all(operating.transact(lambda session: _shown(session, owner)), json_)


@app.command("rate")
def set_rate(
    owner: Owner,
    reason: Reason,
    per_minute: Annotated[int, typer.Option(help="How many units a minute.")],
    of: Annotated[str, typer.Option(help="Of each: tenant, key or end_user.")] = "tenant",
    unit: Annotated[str, typer.Option(help="requests or tokens.")] = "requests",
    burst: Annotated[
        int | None, typer.Option(help="How many at once; default: a minute's worth.")
    ] = None,
    route: Annotated[str | None, typer.Option(help="Only there, such as `POST /v1/jobs`.")] = None,
    when_lost: Annotated[
        str,
        typer.Option(help="Without the shared counters: hold (in each process) or refuse."),
    ] = "hold",
    json_: AsJson = False,
) -> None:
    """Set a rate of requests or tokens; it holds within a second."""
    rate = Rate(of, unit, per_minute, per_minute if burst is None else burst, route, when_lost)
    _change(owner, lambda held: limits.with_rate(held, rate), reason, json_)


@app.command("queue")
def set_ceiling(
    owner: Owner,
    reason: Reason,
    lane: Annotated[str, typer.Option(help=f"One of {', '.join(LANES)}.")],
    jobs: Annotated[int | None, typer.Option(help="Jobs that may wait.")] = None,
    cost: Annotated[
        str | None, typer.Option(metavar="USD", help="Their predicted cost, in all.")
    ] = None,
    age_seconds: Annotated[int | None, typer.Option(help="How long the oldest may wait.")] = None,
    json_: AsJson = False,
) -> None:
    """Set how much may wait in a lane. What is left out has no ceiling."""

    def change(held: Mapping[str, Any]) -> dict[str, Any]:
        if lane not in LANES:
            raise Invalid.at("/lane", f"one of {', '.join(LANES)}")
        try:
            cost_nanousd = None if cost is None else money.from_wire(cost)
        except ValueError as fault:
            raise Invalid.at("/cost", str(fault)) from None
        return limits.with_ceiling(held, lane, Ceiling(jobs, cost_nanousd, age_seconds))

    _change(owner, change, reason, json_)


@app.command("clear")
def clear_limit(
    owner: Owner,
    name: Annotated[str, typer.Argument(help="As `limits show` names it.")],
    reason: Reason,
    json_: AsJson = False,
) -> None:
    """Take a limit away. A tenant's own goes first, then, asked again, what its plan says."""
    inherits = not owner.startswith(_PLAN)
    _change(owner, lambda held: limits.without(held, name, inherits=inherits), reason, json_)


def _change(owner: str, change: plans.Change, reason: str, as_json: bool) -> None:
    async def work(session: AsyncSession) -> list[dict[str, Any]]:
        actor = operating.actor()
        if owner.startswith(_PLAN):
            name = owner.removeprefix(_PLAN)
            await plans.set_limits(session, name, change, actor=actor, reason=reason)
        else:
            tenant = (await _tenant(session, owner)).id
            await plans.set_own_limits(session, tenant, change, actor=actor, reason=reason)
        return await _shown(session, owner)

    showing.show_all(operating.transact(work), as_json)


async def _shown(session: AsyncSession, owner: str) -> list[dict[str, Any]]:
    if owner.startswith(_PLAN):
        plan = await plans.find(session, owner.removeprefix(_PLAN))
        return _rows(plan.limits, {})
    tenant = await _tenant(session, owner)
    return _rows(await plans.of_tenant(session, tenant), tenant.limits)


def _rows(plan: Mapping[str, Any] | None, own: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = limits.in_force(plan, own)
    none = dict.fromkeys(
        ("name", "per_minute", "burst", "when_lost", "jobs", "cost", "age_seconds")
    )
    rates = [
        none | {
            "name": rate.name, "per_minute": rate.per_minute, "burst": rate.burst,
            "when_lost": rate.when_lost,
        }
        for rate in found.rates
    ]  # fmt: skip
    queues = [
        none | {
            "name": lane, "jobs": one.jobs, "age_seconds": one.age_seconds,
            "cost": None if one.cost_nanousd is None else money.to_wire(one.cost_nanousd),
        }
        for lane, one in sorted((found.ceilings or {}).items())
    ]  # fmt: skip
    return rates + queues


async def _tenant(session: AsyncSession, slug: str) -> Tenant:
    found = await directory.by_slug(session, slug)
    if found is None:
        raise NotFound(f"No tenant is called {slug}.")
    return found
