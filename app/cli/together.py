"""`towpath up`: everything on this machine, and one real job."""

from pathlib import Path
from typing import Annotated

import typer

from app.bootstrap import settings
from app.cli import demo, stack


def up(
    once: Annotated[bool, typer.Option("--once", help="Stop after the demonstration.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object as the last line.")
    ] = False,
    data: Annotated[Path | None, typer.Option(help="Folder of the local stack's state.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the API.")] = None,
    started_at: Annotated[float | None, typer.Option(hidden=True)] = None,
) -> None:
    """Start everything on this machine, run one real job, and stay until Ctrl-C."""
    options = stack.Options.of(
        settings.load(), data=data, port=port, once=once, as_json=as_json, started_at=started_at
    )
    raise typer.Exit(stack.up(options, demo.show))
