"""How the scripts find a Python and make .venv whole: without a network, on a stand-in for uv."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# Notes what it was asked for; with `die` beside it, it is killed in the middle with its parent.
UV = """
import os, pathlib, signal, sys
here = pathlib.Path(sys.prefix).parent
if "--version" not in sys.argv:
    with (here / "asked").open("a") as asked:
        asked.write(" ".join(sys.argv[1:]) + "\\n")
    if (here / "die").exists():
        os.kill(os.getppid(), signal.SIGKILL)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout, in a path with a space, whose .venv has the stand-in and no stamp."""
    root = tmp_path / "a checkout"
    (root / "scripts").mkdir(parents=True)
    for name in ("_env.sh", "_setup.py"):
        shutil.copy(ROOT / "scripts" / name, root / "scripts")
    (root / "requirements.lock").write_text("one==1\n")
    (root / "pyproject.toml").write_text("[project]\n")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root / ".venv"], check=True)
    package = next((root / ".venv" / "lib").glob("python*/site-packages")) / "uv"
    package.mkdir()
    (package / "__main__.py").write_text(UV)
    return root


def set_up(root: Path, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    script = 'source "$0/scripts/_env.sh" && echo "$bin"'
    return subprocess.run(
        ["/bin/bash", "-euc", script, root],
        env={"PATH": path, "HOME": str(root), "PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def asked(root: Path) -> list[str]:
    """The verbs of what uv was asked for."""
    file = root / "asked"
    lines = file.read_text().splitlines() if file.exists() else []
    return [words.split("pip ")[1].split()[0] for words in lines]


def test_it_installs_once_and_then_asks_nobody(checkout: Path) -> None:
    first = set_up(checkout)
    assert (first.returncode, first.stdout.strip()) == (0, str(checkout / ".venv" / "bin"))
    assert asked(checkout) == ["sync", "install"]
    assert "set-up: packages" in first.stderr
    again = set_up(checkout)
    assert (again.returncode, again.stderr) == (0, "")
    assert asked(checkout) == ["sync", "install"]


@pytest.mark.parametrize("name", ["requirements.lock", "pyproject.toml"])
def test_a_changed_lock_or_project_is_installed_again(checkout: Path, name: str) -> None:
    set_up(checkout)
    with (checkout / name).open("a") as file:
        file.write("# changed\n")
    assert set_up(checkout).returncode == 0
    assert asked(checkout) == ["sync", "install"] * 2


def test_what_a_kill_left_half_made_is_thrown_away(checkout: Path) -> None:
    (checkout / "die").touch()
    assert set_up(checkout).returncode != 0
    assert (checkout / ".venv" / "towpath.half-made").exists()
    (checkout / "die").unlink()
    # The stand-in went with the rest: the real one is asked for now, which PIP_NO_INDEX forbids.
    offline = set_up(checkout)
    assert offline.returncode == 1
    assert "set-up: environment" in offline.stderr
    assert "needs the network" in offline.stderr
    assert "Traceback" not in offline.stderr


def test_an_environment_moved_with_its_checkout_is_made_again(checkout: Path) -> None:
    set_up(checkout)
    moved = checkout.rename(checkout.with_name("moved"))
    set_up(moved)
    assert asked(moved) == ["sync", "install"] * 2


def test_a_machine_without_python_is_told_so(tmp_path: Path, checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "dirname", "head"):
        (tools / name).symlink_to(shutil.which(name) or name)
    none = set_up(checkout, str(tools))
    assert none.returncode == 1
    assert none.stderr == "Towpath needs Python 3.11 or newer, and found none on PATH.\n"
    old = tools / "python3"
    old.write_text('#!/bin/bash\n[ "$1" = --version ] && echo Python 3.9.2 || exit 1\n')
    old.chmod(0o755)
    too_old = set_up(checkout, str(tools))
    assert too_old.returncode == 1
    assert "(python3 is Python 3.9.2)" in too_old.stderr


def test_every_script_starts_with_the_set_up() -> None:
    for name in ("up", "test", "check", "lock"):
        script = ROOT / "scripts" / name
        assert os.access(script, os.X_OK)
        assert "/_env.sh" in script.read_text()
    ci = ROOT / ".ci" / "run"
    assert os.access(ci, os.X_OK)
    assert ci.read_text().splitlines()[-2:] == ["scripts/check", "exec scripts/test"]
