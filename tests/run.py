"""`scripts/test`: starts the services that all tests share, once, and runs pytest on them."""

import shutil
import subprocess
import sys
from pathlib import Path

from app.embedded import postgres, states

ROOT = Path(__file__).parents[1]
NO_TESTS = 5  # pytest's status where a filter left none
UNIT = "not concurrency and not journey and not architecture"
SUITES = {
    "unit": ["-n", "2", "-m", UNIT],
    "concurrency": ["-n", "2", "-m", "concurrency"],
    "architecture": ["-n", "2", "-m", "architecture"],
    "journeys": ["-n", "2", "-m", "journey"],  # mostly they wait for processes of their own
}
ALL = [["-n", "2", "-m", "not journey"], SUITES["journeys"]]
# What is lost in a power cut is made again by the next run. Two races of 64 may run at once, beside
# the pools of the processes that a test starts: a stack's number of connections is too few.
HASTY = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "400",
}


def main(arguments: list[str]) -> int:
    """Exit status of pytest, or of its first run that failed."""
    chosen = [SUITES[arguments[0]]] if arguments and arguments[0] in SUITES else ALL
    options = arguments[1:] if chosen is not ALL else arguments
    folder = states.temporary()
    try:
        server = postgres.start(folder / "pg", settings={**postgres.SETTINGS, **HASTY})
        try:
            url = f"--postgres={server.superuser_url}"
            statuses = [pytest([*suite, url, *options]) for suite in chosen]
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
    return next((each for each in statuses if each not in (0, NO_TESTS)), min(statuses))


def pytest(options: list[str]) -> int:
    """One run; a Ctrl-C reaches it by itself."""
    command = [sys.executable, "-m", "pytest", *options]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
