"""Makes .venv whole: every package of requirements.lock, the project itself, nothing else.

Only the standard library is there yet. A stamp in .venv says what it was made of; while that is still
so, nothing is done and no network is needed. A mark says that it is being made: what a kill left
half made is thrown away, since a package cut short looks installed.
"""

import fcntl
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

ROOT = Path(sys.argv[1])
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP, MARK = VENV / "towpath.stamp", VENV / "towpath.half-made"
OFFLINE_SIGNS = (
    "error sending request",
    "dns error",
    "name resolution",
    "new connection",
    "connection refused",
    "timed out",
    "from versions: none",
)
BASE: str = getattr(sys, "_base_executable", sys.executable)  # outside of any environment


def main() -> None:
    """Look at the stamp; make what is missing."""
    with Path(__file__).open("rb") as own:
        fcntl.flock(own, fcntl.LOCK_EX)  # a second script waits here for the first
        if not is_whole():
            make()


def is_whole() -> bool:
    """Whether .venv was made of just this, here, and its Python still runs."""
    try:
        return (
            STAMP.read_text() == wanted() and not MARK.exists() and version_of(PYTHON) is not None
        )
    except OSError:
        return False


def wanted() -> str:
    """What the stamp has to say."""
    parts = [(ROOT / name).read_bytes() for name in ("requirements.lock", "pyproject.toml")]
    parts += [sys.version.encode(), str(ROOT).encode()]
    return sha256(b"\0".join(parts)).hexdigest() + "\n"


def version_of(python: Path) -> str | None:
    """The full version of an interpreter, or None where it doesn't run."""
    try:
        done = run([str(python), "-I", "-c", "import sys; print(sys.version)"])
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def make() -> None:
    """Each phase in turn; the stamp comes last."""
    if MARK.exists() or version_of(PYTHON) != sys.version:
        shutil.rmtree(VENV, ignore_errors=True)
    try:
        VENV.mkdir(exist_ok=True)
        STAMP.unlink(missing_ok=True)
        MARK.touch()
    except OSError as error:
        fail(f"{VENV} cannot be written: {error.strerror}.")
    environment = tool_environment()
    if not PYTHON.exists():
        phase("environment", make_environment)
    uv = [str(PYTHON), "-m", "uv"]
    if run([*uv, "--version"]).returncode:
        phase("uv", lambda: install_uv(environment))
    pip = [*uv, "--quiet", "--no-progress", "pip"]
    here = ["--python", str(PYTHON)]
    # Compiled now, once, and not by the first processes, each for itself: from source one of them
    # takes 8 s of CPU to import, compiled 1.3 s.
    lock = ["--compile-bytecode", "--require-hashes", "requirements.lock"]
    phase(
        "packages",
        lambda: must(
            [*pip, "sync", *here, *lock],
            environment,
            "The packages could not be installed.",
        ),
    )
    phase(
        "project",
        lambda: must(
            [
                *pip,
                "install",
                *here,
                "--no-deps",
                "--no-build-isolation",
                "--no-index",
                "--editable",
                ".",
            ],
            environment,
            "The project could not be installed into .venv.",
        ),
    )
    STAMP.write_text(wanted())
    MARK.unlink()


def make_environment() -> None:
    """Without pip where the system's pip can install into it: that saves two seconds."""
    if importlib.util.find_spec("venv") is None:
        fail(f"{BASE} has no `venv` module. On Debian and Ubuntu: apt-get install python3-venv")
    bare = ["--without-pip"] if has_pip() else []
    if not bare and run([BASE, "-c", "import ensurepip"]).returncode:
        fail(
            f"{BASE} has neither pip nor ensurepip. On Debian and Ubuntu: apt-get install python3-venv"
        )
    must([BASE, "-m", "venv", *bare, str(VENV)], None, "The environment could not be made.")


def has_pip() -> bool:
    """Whether the system's pip is there and new enough for `--python` (22.3)."""
    return run([BASE, "-m", "pip", "--python", BASE, "--version"]).returncode == 0


def install_uv(environment: dict[str, str]) -> None:
    """By the environment's own pip, else by the system's."""
    own = run([str(PYTHON), "-m", "pip", "--version"]).returncode == 0
    pip = [str(PYTHON), "-m", "pip"] if own else [BASE, "-m", "pip", "--python", str(PYTHON)]
    must(
        [*pip, "install", "--quiet", "--no-input", "--disable-pip-version-check", "uv"],
        environment | {"PIP_ROOT_USER_ACTION": "ignore"},
        "uv, the installer, could not be installed.",
    )


def tool_environment() -> dict[str, str]:
    """uv doesn't read pip's settings: a package index that pip was told of is passed on."""
    environment = dict(os.environ)  # noqa: TID251 - handed on to the tools
    environment.pop("VIRTUAL_ENV", None)
    environment["UV_PYTHON_DOWNLOADS"] = "never"
    cache = Path(
        environment.get("UV_CACHE_DIR") or environment.get("XDG_CACHE_HOME") or Path.home()
    )
    if not os.access(cache if cache.exists() else cache.parent, os.W_OK):
        environment["UV_NO_CACHE"] = "1"
    if not {"UV_DEFAULT_INDEX", "UV_INDEX_URL"} & environment.keys():
        for line in run([BASE, "-m", "pip", "config", "list"]).stdout.splitlines():
            name, _, value = line.partition("=")
            if name in {"global.index-url", "install.index-url", ":env:.index-url"}:
                environment["UV_DEFAULT_INDEX"] = value.strip("'\"")
    return environment


def run(
    command: list[str], environment: dict[str, str] | None = None
) -> "subprocess.CompletedProcess[str]":
    """Its output and status, whatever they are."""
    return subprocess.run(  # noqa: S603 - constant commands
        command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False
    )


def must(command: list[str], environment: dict[str, str] | None, complaint: str) -> None:
    """Run it, or say what failed and end."""
    done = run(command, environment)
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        if any(sign in said.lower() for sign in OFFLINE_SIGNS):
            complaint += " The first run, and the first after a change of requirements.lock, needs the network."
        fail(f"{complaint}\n{said}")


def phase(name: str, work: Callable[[], None]) -> None:
    """Do it and say how long it took."""
    begun = time.monotonic()
    work()
    sys.stderr.write(f"set-up: {name:<12} {time.monotonic() - begun:5.1f} s\n")
    sys.stderr.flush()


def fail(message: str) -> None:
    """End with a message, not with a stack of calls."""
    sys.exit(f"Set-up failed. {message}")


main()
