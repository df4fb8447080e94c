"""Memory of a process and all its descendants, as the kernel counts it (Linux)."""

from pathlib import Path

_PROC = Path("/proc")


def tree_bytes(root: int) -> int:
    """Proportional set size of the tree: what is shared is counted once. 0 where there is no /proc.

    Source: proc(5), smaps_rollup. Where that may not be read, the resident size is taken instead.
    """
    return sum(_pss_bytes(pid) for pid in tree(root))


def tree(root: int) -> list[int]:
    """The process and its living descendants."""
    children: dict[int, list[int]] = {}
    for each in _PROC.glob("[0-9]*/stat"):
        try:
            # The name, in brackets, may hold anything: what follows the last bracket is counted.
            fields = each.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(each.parent.name))
    found = [root]
    for pid in found:  # grows as it goes
        found += children.get(pid, [])
    return found


def _pss_bytes(pid: int) -> int:
    folder = _PROC / str(pid)
    try:
        for line in (folder / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        status = (folder / "status").read_text()
    except OSError:
        return 0  # it has just ended
    resident = [line.split()[1] for line in status.splitlines() if line.startswith("VmRSS:")]
    return int(resident[0]) * 1024 if resident else 0
