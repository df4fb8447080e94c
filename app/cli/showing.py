"""How commands answer: `--json` gives one JSON value on standard output, else what people read."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE = 10_000

AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on the last line.")]


def show(facts: Mapping[str, Any], as_json: bool) -> None:
    """One object: as JSON, or a line a fact."""
    if as_json:
        write(facts)
        return
    for name, value in facts.items():
        sys.stdout.write(f"{name:<22} {text(value)}\n")


def show_all(rows: Sequence[Mapping[str, Any]], as_json: bool, columns: Sequence[str] = ()) -> None:
    """Many objects: as `{"data": […]}`, or as a table of these columns, else of all."""
    if as_json:
        write({"data": list(rows)})
        return
    if not rows:
        Console().print("none")
        return
    names = columns or tuple(rows[0])
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, overflow="fold", no_wrap=name == "id")
    for row in rows:
        table.add_row(*(Text(text(row[name])) for name in names))
    # Into a pipe no line is broken: what reads it wants one a row.
    Console(width=None if sys.stdout.isatty() else _WIDE).print(table)


def write(value: Any) -> None:
    """A line of JSON."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False) + "\n")


def text(value: Any) -> str:
    """A value as people read it."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case list() | tuple() if all(isinstance(one, str) for one in value):
            return " ".join(value)
        case dict() | list() | tuple():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return str(value)
