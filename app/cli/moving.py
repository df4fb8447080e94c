"""`towpath admin move`: jobs that wait, by filter, to another lane or priority."""

from typing import Annotated, Any

import typer

from app.bootstrap import settings
from app.cli import operating, showing
from app.cli.showing import AsJson
from app.core.db import Database
from app.jobs import moving
from app.jobs.moving import Place, Which
from app.tenants import directory


def move(
    reason: Annotated[str, typer.Option(help="Why; it stays in the audit trail.")],
    tenant: Annotated[str | None, typer.Option(help="Only this tenant's, by slug.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Only of this workflow.")] = None,
    tag: Annotated[str | None, typer.Option(help="Only with this tag.")] = None,
    lane: Annotated[str | None, typer.Option(help="Only of this lane.")] = None,
    status: Annotated[str | None, typer.Option(help="scheduled, queued or waiting.")] = None,
    to_lane: Annotated[str | None, typer.Option(help="The lane they go to.")] = None,
    to_priority: Annotated[int | None, typer.Option(min=0, max=9, help="Theirs from now.")] = None,
    json_: AsJson = False,
) -> None:
    """Move jobs that wait. What was released meanwhile stays, and is counted as kept."""
    place = Place(to_lane, to_priority)

    async def work(db: Database) -> dict[str, Any]:
        owner = None
        if tenant is not None:
            async with db.transaction() as session:
                owner = (await directory.named(session, tenant)).id
        which = Which(owner, workflow, tag, lane, status)
        moved = kept = 0
        more = True
        while more:
            done = await moving.move_many(
                db, which, place, head_start=settings.load().intake.head_start,
                actor=operating.actor(), reason=reason,
            )  # fmt: skip
            moved, kept, more = moved + done.moved, kept + done.kept, done.more
        return {"moved": moved, "kept": kept}

    showing.show(operating.run(work), json_)
