"""`scripts/gameday NAME [--json]`: a table for people, one JSON object as the last line for programs."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Final

from rich.table import Table

from bench.ground import console
from gameday import broker, control, storm
from gameday.ground import Drill

Run = Callable[[], Coroutine[Any, Any, list[Drill]]]

DAYS: Final[dict[str, Run]] = {"broker": broker.run, "control": control.run, "storm": storm.run}


def main() -> int:
    """Exit status 0 where every drill of the day held."""
    parser = argparse.ArgumentParser(prog="scripts/gameday", description=__doc__)
    parser.add_argument("name", choices=[*sorted(DAYS), "all"])
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    chosen = parser.parse_args()
    names = sorted(DAYS) if chosen.name == "all" else [chosen.name]
    drills = [drill for name in names for drill in asyncio.run(DAYS[name]())]
    table = Table(title=f"gameday {chosen.name}")
    for column in ("drill", "held", "seen after", "recovered after", "figures"):
        table.add_column(column, overflow="fold")
    for drill in drills:
        told = " ".join(f"{name}={value}" for name, value in drill.figures.items())
        table.add_row(
            drill.name, "yes" if drill.ok else f"NO: {drill.why}", _seconds(drill.detected_s),
            _seconds(drill.recovered_s), told,
        )  # fmt: skip
    console.print(table)
    if chosen.json:
        sys.stdout.write(json.dumps({"drills": [drill.line() for drill in drills]}) + "\n")
    return 0 if all(drill.ok for drill in drills) else 1


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"


if __name__ == "__main__":
    sys.exit(main())
