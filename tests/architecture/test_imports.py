"""The house: the import contracts hold, and nothing names a machine or a registry."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOREIGN = re.compile(r"://[^/ ]+/simple([/ \"]|$)|://registry\.|://deb\.|/(work|root|farm)/")


def test_the_import_contracts_hold() -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "lint-imports", "--no-cache"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_no_file_names_a_registry_or_a_machines_path() -> None:
    listed = subprocess.run(
        ["git", "ls-files"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split("\n")
    here = Path(__file__).relative_to(ROOT)
    texts = [Path(name) for name in listed if name and Path(name) != here]
    found = [
        f"{name}:{number}"
        for name in texts
        if (ROOT / name).is_file()
        for number, line in enumerate((ROOT / name).read_text(errors="replace").split("\n"), 1)
        if FOREIGN.search(line)
    ]
    assert found == []
