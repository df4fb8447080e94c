"""`towpath admin`: what operators do to tenants, keys, budgets, prices and switches. All of it is audited."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar

import typer
from sqlalchemy.ext.asyncio import AsyncSession

from app.bootstrap import tenancy
from app.budgets import accounts
from app.cli import caps, limits, moving, operating, pauses, showing, tools
from app.cli.showing import AsJson
from app.core import clock, ids, money
from app.core.errors import NotFound
from app.core.ids import KeyId
from app.core.lists import Page
from app.switches import levers
from app.tenants import directory, keys
from app.tenants.models import Tenant
from app.usage import pricing

Item = TypeVar("Item")

_PAGE: Final = 200

app = typer.Typer(
    help="Operators' work. Every change is an audit entry.",
    no_args_is_help=True,
    add_completion=False,
)
_tenants = typer.Typer(help="Who may use the platform.", no_args_is_help=True)
_keys = typer.Typer(help="API keys of tenants.", no_args_is_help=True)
_budgets = typer.Typer(help="What tenants may spend.", no_args_is_help=True)
_prices = typer.Typer(help="What models cost.", no_args_is_help=True)
_switches = typer.Typer(
    help="Kill switches: admission, model_calls, webhooks.", no_args_is_help=True
)
app.add_typer(_tenants, name="tenants")
app.add_typer(_keys, name="keys")
app.add_typer(_budgets, name="budgets")
app.add_typer(_prices, name="prices")
app.add_typer(_switches, name="switches")
app.add_typer(caps.app, name="caps")
app.add_typer(limits.app, name="limits")
app.add_typer(limits.plans_app, name="plans")
app.add_typer(tools.app, name="tools")
pauses.add_to(app)
app.command("move")(moving.move)

Slug = Annotated[str, typer.Argument(help="The tenant's slug.")]
Reason = Annotated[str, typer.Option(help="Why; it stays in the audit trail.")]


def _usd(text: str) -> int:
    try:
        amount = money.from_wire(text)
    except ValueError as fault:
        raise typer.BadParameter(str(fault)) from None
    if amount < 0:
        raise typer.BadParameter("not below zero")
    return amount


def _usd_a_million(text: str) -> int:
    """Dollars a million tokens as pico-dollars a token, exactly."""
    try:
        return money.rate_from_wire(text)
    except ValueError as fault:
        raise typer.BadParameter(str(fault)) from None


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("not a time such as 2027-01-31 or 2027-01-31T12:00:00Z") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


Limit = Annotated[Any, typer.Option(parser=_usd, metavar="USD", help="The hard cap, in USD.")]
Moment = Annotated[Any, typer.Option(parser=_moment, metavar="TIME", help="UTC unless it says.")]
TokenPrice = Annotated[
    Any, typer.Option(parser=_usd_a_million, metavar="USD", help="USD a million tokens.")
]


@_tenants.command("create")
def create_tenant(
    slug: Slug,
    limit: Limit,
    name: Annotated[str | None, typer.Option(help="Default: the slug.")] = None,
    weight: Annotated[int, typer.Option(help="Its share beside other tenants.")] = 1,
    max_running: Annotated[int, typer.Option(help="Its jobs at once.")] = 100,
    require_idempotency: Annotated[
        bool, typer.Option("--require-idempotency", help="Refuse POSTs without an Idempotency-Key.")
    ] = False,
    json_: AsJson = False,
) -> None:
    """Make a tenant with an account and the shipped workflows."""

    async def work(session: AsyncSession) -> dict[str, Any]:
        tenant = await tenancy.create(
            session, slug, name or slug, limit_nanousd=limit, actor=operating.actor(),
            weight=weight, max_running=max_running, requires_idempotency=require_idempotency,
        )  # fmt: skip
        return _of_tenant(await directory.find(session, tenant))

    showing.show(operating.transact(work), json_)


@_tenants.command("list")
def list_tenants(json_: AsJson = False) -> None:
    """All tenants, newest first."""

    async def work(session: AsyncSession) -> list[dict[str, Any]]:
        found = await _all(lambda cursor: directory.listed(session, cursor, _PAGE))
        return [_of_tenant(tenant) for tenant in found]

    showing.show_all(operating.transact(work), json_)


@_tenants.command("suspend")
def suspend_tenant(slug: Slug, reason: Reason, json_: AsJson = False) -> None:
    """Refuse every request of a tenant; its running jobs go on."""

    async def work(session: AsyncSession, tenant: Tenant) -> None:
        await directory.suspend(session, tenant.id, actor=operating.actor(), reason=reason)

    _change_tenant(slug, work, json_)


@_tenants.command("resume")
def resume_tenant(slug: Slug, reason: Reason, json_: AsJson = False) -> None:
    """Let a suspended tenant in again."""

    async def work(session: AsyncSession, tenant: Tenant) -> None:
        await directory.resume(session, tenant.id, actor=operating.actor(), reason=reason)

    _change_tenant(slug, work, json_)


@_tenants.command("set")
def set_tenant(
    slug: Slug,
    weight: Annotated[int | None, typer.Option(help="Its share beside other tenants.")] = None,
    max_running: Annotated[int | None, typer.Option(help="Its jobs at once.")] = None,
    require_idempotency: Annotated[
        bool | None, typer.Option(help="Refuse POSTs without an Idempotency-Key.")
    ] = None,
    plan: Annotated[str | None, typer.Option(help="The plan whose limits it has.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why.")] = None,
    json_: AsJson = False,
) -> None:
    """Change a tenant's share, its jobs at once, whether it must send idempotency keys, its plan."""

    async def work(session: AsyncSession, tenant: Tenant) -> None:
        await directory.set_caps(
            session, tenant.id, actor=operating.actor(), weight=weight, max_running=max_running,
            requires_idempotency=require_idempotency, plan=plan, reason=reason,
        )  # fmt: skip

    _change_tenant(slug, work, json_)


@_keys.command("issue")
def issue_key(
    slug: Slug,
    name: Annotated[str, typer.Option(help="What it is for.")],
    scope: Annotated[
        list[str], typer.Option(help=f"Again for each of: {' '.join(sorted(keys.SCOPES))}")
    ],
    expires_at: Moment = None,
    json_: AsJson = False,
) -> None:
    """Make a key. It is shown now and never again."""

    async def work(session: AsyncSession) -> dict[str, Any]:
        tenant = await directory.named(session, slug)
        issued = await keys.issue(
            session, tenant.id, name, scope, actor=operating.actor(), expires_at=expires_at
        )
        facts = await keys.find(session, tenant.id, issued.id)
        return _of_key(facts) | {"secret": issued.secret}

    showing.show(operating.transact(work), json_)


@_keys.command("revoke")
def revoke_key(
    slug: Slug,
    key: Annotated[str, typer.Argument(help="The key's id, key_…")],
    json_: AsJson = False,
) -> None:
    """End a key; it is refused within a second."""

    async def work(session: AsyncSession) -> dict[str, Any]:
        tenant = await directory.named(session, slug)
        found = ids.parse("key", key)
        if found is None:
            raise NotFound("No such key.")
        await keys.revoke(session, tenant.id, KeyId(found), actor=operating.actor())
        return _of_key(await keys.find(session, tenant.id, KeyId(found)))

    showing.show(operating.transact(work), json_)


@_keys.command("list")
def list_keys(slug: Slug, json_: AsJson = False) -> None:
    """A tenant's keys, revoked ones too, newest first."""

    async def work(session: AsyncSession) -> list[dict[str, Any]]:
        tenant = await directory.named(session, slug)
        found = await _all(lambda cursor: keys.listed(session, tenant.id, cursor, _PAGE))
        return [_of_key(facts) for facts in found]

    showing.show_all(operating.transact(work), json_)


@_budgets.command("show")
def show_budget(slug: Slug, json_: AsJson = False) -> None:
    """A tenant's cap, what is spent and what is held for calls under way."""

    async def work(session: AsyncSession) -> dict[str, Any]:
        tenant = await directory.named(session, slug)
        return await _of_budget(session, tenant)

    showing.show(operating.transact(work), json_)


@_budgets.command("set")
def set_budget(slug: Slug, limit: Limit, reason: Reason, json_: AsJson = False) -> None:
    """Set a tenant's hard cap. Below what is spent, it stops the next call."""

    async def work(session: AsyncSession) -> dict[str, Any]:
        tenant = await directory.named(session, slug)
        await accounts.set_limit(session, tenant.id, limit, actor=operating.actor(), reason=reason)
        return await _of_budget(session, tenant)

    showing.show(operating.transact(work), json_)


@_budgets.command("clear-overrun")
def clear_overrun(slug: Slug, reason: Reason, json_: AsJson = False) -> None:
    """Unblock an account after a settlement that cost more than its hold."""

    async def work(session: AsyncSession) -> dict[str, Any]:
        tenant = await directory.named(session, slug)
        await accounts.clear_overrun(session, tenant.id, actor=operating.actor(), reason=reason)
        return await _of_budget(session, tenant)

    showing.show(operating.transact(work), json_)


@_prices.command("list")
def list_prices(json_: AsJson = False) -> None:
    """The price book: every entry, the newest of each model first."""

    async def work(session: AsyncSession) -> list[dict[str, Any]]:
        return [_of_price(price) for price in await pricing.listed(session)]

    showing.show_all(operating.transact(work), json_)


@_prices.command("set")
def set_price(
    provider: str,
    model: str,
    input_: Annotated[
        Any,
        typer.Option("--input", parser=_usd_a_million, metavar="USD", help="USD a million tokens."),
    ],
    output: TokenPrice,
    cached_input: TokenPrice = None,
    cache_write: TokenPrice = None,
    from_at: Moment = None,
    reason: Annotated[str | None, typer.Option(help="Why.")] = None,
    json_: AsJson = False,
) -> None:
    """Enter a price, from now or a later moment on. Earlier calls keep theirs."""

    async def work(session: AsyncSession) -> dict[str, Any]:
        entered = await pricing.enter(
            session, provider, model, input_picousd=input_, output_picousd=output,
            cached_input_picousd=cached_input, cache_write_picousd=cache_write, from_at=from_at,
            actor=operating.actor(), reason=reason,
        )  # fmt: skip
        return _of_price(await pricing.find(session, entered))

    showing.show(operating.transact(work), json_)


@_prices.command("import")
def import_price(provider: str, model: str, json_: AsJson = False) -> None:
    """Enter a hosted model's list price, where it has no price yet."""

    async def work(session: AsyncSession) -> dict[str, Any]:
        price = await pricing.adopt(session, provider, model, actor=operating.actor())
        if price is None:
            raise NotFound(
                f"No single list price of {provider}/{model} is known: use `prices set`."
            )
        return _of_price(price)

    showing.show(operating.transact(work), json_)


@_switches.command("off")
def switch_off(name: str, reason: Reason, json_: AsJson = False) -> None:
    """Stop what hangs on a switch, at once."""
    _move(
        name,
        json_,
        lambda session: levers.turn_off(session, name, actor=operating.actor(), reason=reason),
    )


@_switches.command("on")
def switch_on(name: str, reason: Reason, json_: AsJson = False) -> None:
    """Let it run again."""
    _move(
        name,
        json_,
        lambda session: levers.turn_on(session, name, actor=operating.actor(), reason=reason),
    )


@_switches.command("list")
def list_switches(json_: AsJson = False) -> None:
    """All switches, and who last moved them."""
    showing.show_all(operating.transact(_switch_rows), json_)


def _move(name: str, as_json: bool, move: Callable[[AsyncSession], Awaitable[None]]) -> None:
    async def work(session: AsyncSession) -> dict[str, Any]:
        await move(session)
        return _of_lever(await levers.state(session, name))

    showing.show(operating.transact(work), as_json)


async def _switch_rows(session: AsyncSession) -> list[dict[str, Any]]:
    return [_of_lever(lever) for lever in await levers.states(session)]


def _of_lever(lever: levers.State) -> dict[str, Any]:
    return {
        "name": lever.name, "off": lever.off, "reason": lever.reason, "set_by": lever.set_by,
        "set_at": _when(lever.set_at),
    }  # fmt: skip


def _change_tenant(
    slug: str, change: Callable[[AsyncSession, Tenant], Awaitable[None]], as_json: bool
) -> None:
    async def work(session: AsyncSession) -> dict[str, Any]:
        tenant = await directory.named(session, slug)
        await change(session, tenant)
        return _of_tenant(tenant)

    showing.show(operating.transact(work), as_json)


async def _all(page_after: Callable[[str | None], Awaitable[Page[Item]]]) -> list[Item]:
    page = await page_after(None)
    items = list(page.items)
    while page.next_cursor is not None:
        page = await page_after(page.next_cursor)
        items += page.items
    return items


def _of_tenant(tenant: Tenant) -> dict[str, Any]:
    return {"id": directory.wire(tenant.id)} | directory.facts(tenant)


def _of_key(facts: keys.KeyFacts) -> dict[str, Any]:
    return {
        "id": keys.wire(facts.id), "name": facts.name, "prefix": facts.prefix, "scopes": list(facts.scopes),
        "created_at": clock.wire(facts.created_at), "expires_at": _when(facts.expires_at),
        "revoked_at": _when(facts.revoked_at),
    }  # fmt: skip


async def _of_budget(session: AsyncSession, tenant: Tenant) -> dict[str, Any]:
    view = await accounts.of(session, tenant.id)
    free = max(0, view.limit_nanousd - view.spent_nanousd - view.held_nanousd)
    return {
        "tenant": tenant.slug, "limit": money.to_wire(view.limit_nanousd),
        "spent": money.to_wire(view.spent_nanousd), "held": money.to_wire(view.held_nanousd),
        "free": money.to_wire(free), "overrun_at": _when(view.overrun_at),
    }  # fmt: skip


def _of_price(price: pricing.Price) -> dict[str, Any]:
    classes = {
        "input": price.input_picousd, "cached_input": price.cached_input_picousd,
        "cache_write": price.cache_write_picousd, "output": price.output_picousd,
    }  # fmt: skip
    per_million = {name: money.rate_to_wire(picousd) for name, picousd in classes.items()}
    return {
        "id": ids.wire("prc", price.id), "provider": price.provider, "model": price.model,
        "from_at": clock.wire(price.from_at),
    } | {f"{name}_usd_per_million": value for name, value in per_million.items()}  # fmt: skip


def _when(moment: datetime | None) -> str | None:
    return None if moment is None else clock.wire(moment)
