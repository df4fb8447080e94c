"""All commands in one tree."""

import typer

from app.cli import admin, audit, listen, processes

app = typer.Typer(
    help="Towpath: durable, fair and budgeted job queues for long-running LLM work.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback with local variables could show a key
)
for command in (
    processes.up, processes.api, processes.worker, processes.control, processes.flower, processes.migrate,
):  # fmt: skip
    app.command()(command)
app.add_typer(admin.app, name="admin")
app.add_typer(audit.app, name="audit")
app.add_typer(listen.commands, name="webhooks")


def main() -> None:
    """The entry point of `towpath`."""
    app()
