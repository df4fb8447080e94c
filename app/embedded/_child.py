"""What runs first in each child: gives up root, binds its life to its parent's, becomes the program.

Run by its path under `python -I -S`, so that it starts in some 20 ms, and instead of Popen's
preexec_fn, which is unsafe (and warned of) once the parent has threads.
Arguments: parent's id, signal at its death, uid or -, gid or -, program, its arguments.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def bind_to_parent(parent: int, signal_number: int) -> None:
    """Ask the kernel to signal this process when `parent`'s starting thread ends (Linux only)."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number)
    if os.getppid() != parent:  # it died before the kernel was asked
        sys.exit("parent gone")


def give_up_root(uid: int, gid: int) -> None:
    """Become an ordinary user for good. The kernel then forgets any bond to the parent."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def main() -> None:
    """Become the program that the arguments name."""
    parent, signal_number, uid, gid, *program = sys.argv[1:]
    if uid != "-":
        give_up_root(int(uid), int(gid))
    bind_to_parent(int(parent), int(signal_number))
    os.execv(program[0], program)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    main()
