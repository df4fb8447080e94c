"""`scripts/bench NAME [--json]`: a table for people, one JSON object as the last line for programs."""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from rich.table import Table

from bench import admission, backlog, drain, footprint, inflight, partitions, purge
from bench.ground import console

BENCHES: dict[str, Callable[..., Coroutine[Any, Any, dict[str, Any]]]] = {
    "admission": admission.run,
    "backlog": backlog.run,
    "drain": drain.run,
    "footprint": footprint.run,
    "inflight": inflight.run,
    "partitions": partitions.run,
    "purge": purge.run,
}


def main() -> int:
    """Run one bench; its figures are ratios within this run, nothing more."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("name", choices=sorted(BENCHES))
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    chosen = parser.parse_args()
    figures = asyncio.run(BENCHES[chosen.name]())
    table = Table(title=chosen.name)
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        table.add_row(name, f"{value:,}" if isinstance(value, int) else str(value))
    console.print(table)
    if chosen.json:
        sys.stdout.write(json.dumps({"bench": chosen.name} | figures) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
