"""`towpath audit`: is the trail as it was sealed?"""

from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import Progress

from app.audit import trail, verification
from app.audit.verification import ChainReport
from app.cli import operating, showing
from app.cli.showing import AsJson
from app.core import ids
from app.core.db import Database
from app.core.errors import NotFound
from app.tenants import directory

app = typer.Typer(help="The audit trail.", no_args_is_help=True, add_completion=False)


@app.callback()
def audit() -> None:
    """The audit trail."""


@app.command()
def verify(
    chain: Annotated[
        str | None, typer.Option(help="A tenant's slug or id, or `platform`. Default: all chains.")
    ] = None,
    json_: AsJson = False,
) -> None:
    """Recompute every link and name the first bad entry of each chain.

    Exit status 0: all as it was sealed. 1: a chain is broken. 2: it could not be looked at. What is
    cut off the end of a chain together with its entries is not seen: keep the numbers elsewhere.
    """
    reports = operating.run(lambda db: _verify(db, chain))
    rows = [_row(report) for report in reports]
    sound = all(report.broken is None for report in reports)
    if json_:
        showing.show({"verified": sound, "chains": rows}, as_json=True)
    else:
        showing.show_all([row | {"broken": _told(row["broken"])} for row in rows], as_json=False)
    if not sound:
        raise typer.Exit(operating.FAILED)


async def _verify(db: Database, chain: str | None) -> list[ChainReport]:
    wanted = None if chain is None else await _chain(db, chain)
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("links", total=None)
        reports = await verification.verify(
            db, wanted, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
    if wanted is not None and not reports:
        raise NotFound("Nothing was ever written to this chain.")
    return reports


async def _chain(db: Database, name: str) -> UUID:
    if name == trail.wire_chain(trail.PLATFORM):
        return trail.PLATFORM
    by_id = ids.parse("ten", name)
    if by_id is not None:
        return by_id
    async with db.transaction() as session:
        tenant = await directory.by_slug(session, name)
    if tenant is None:
        raise NotFound(f"No tenant is called {name}.")
    return tenant.id


def _row(report: ChainReport) -> dict[str, Any]:
    broken = report.broken
    shown = {"chain": trail.wire_chain(report.chain)}
    facts = {
        name: value for name, value in asdict(report).items() if name not in ("chain", "broken")
    }
    entry = None if broken is None or broken.entry is None else trail.wire(broken.entry)
    return shown | facts | {"broken": None if broken is None else asdict(broken) | {"entry": entry}}


def _told(broken: dict[str, Any] | None) -> str:
    if broken is None:
        return "no"
    place = "" if broken["seq"] is None else f" at {broken['seq']}"
    return f"{broken['what']}{place}: {broken['detail']} ({broken['entry'] or 'entry unknown'})"
