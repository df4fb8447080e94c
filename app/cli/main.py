"""All commands in one tree. Each is imported when it is called: a worker must not load the client's libraries."""

import importlib
from collections.abc import Callable
from typing import Any, Final

import typer
from typer.core import TyperGroup
from typing_extensions import override

# name → (module, what in it: a typer app, or a function that is one command)
COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "up": ("app.cli.together", "up"),
    "api": ("app.cli.processes", "api"),
    "worker": ("app.cli.processes", "worker"),
    "quarantine": ("app.cli.processes", "quarantine"),
    "control": ("app.cli.processes", "control"),
    "flower": ("app.cli.processes", "flower"),
    "migrate": ("app.cli.migrate", "migrate"),
    "admin": ("app.cli.admin", "app"),
    "audit": ("app.cli.audit", "app"),
    "jobs": ("app.cli.jobs", "app"),
    "schedules": ("app.cli.schedules", "app"),
    "collections": ("app.cli.collections", "app"),
    "workflows": ("app.cli.workflows", "app"),
    "webhooks": ("app.cli.webhooks", "app"),
    "usage": ("app.cli.account", "usage"),
    "budgets": ("app.cli.account", "budgets"),
    "keys": ("app.cli.account", "keys"),
    "me": ("app.cli.account", "me"),
}


class _Tree(TyperGroup):
    @override
    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    @override
    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, name = COMMANDS[cmd_name]
        found: typer.Typer | Callable[..., Any] = getattr(importlib.import_module(module), name)
        if not isinstance(found, typer.Typer):
            alone = typer.Typer(add_completion=False)
            alone.command()(found)
            found = alone
        command = typer.main.get_command(found)
        command.name = cmd_name
        return command


# A traceback with local variables could show a key.
app: Final = typer.Typer(cls=_Tree, no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def _towpath() -> None:
    """Durable, fair and budgeted job queues for long-running LLM work."""


def main() -> None:
    """The entry point of `towpath`."""
    app()
