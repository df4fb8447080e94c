"""Servers together: the last one stops first, a dead one comes back where it was."""

from pathlib import Path

import psutil
import psycopg
import pytest

from app.embedded import footprint, servers, states
from app.embedded.errors import FolderInUse


def test_a_dead_server_is_seen_and_revived_on_its_address(folder: Path) -> None:
    running = servers.start(folder, ["postgres", "valkey"])
    try:
        before = running.addresses
        assert before.llm_base_url is None
        assert running.dead() == []
        running.running["postgres"].process.kill()
        running.running["postgres"].process.wait()
        assert running.dead() == ["postgres"]
        running.revive("postgres")
        assert (running.dead(), running.addresses) == ([], before)
        assert before.app_url is not None
        psycopg.connect(before.app_url).close()
    finally:
        running.stop()


def test_where_one_server_cannot_start_the_others_are_stopped(folder: Path) -> None:
    (folder / "valkey").mkdir()
    (folder / "valkey").chmod(0o711)
    with states.lock(folder / "valkey" / "lock"), pytest.raises(FolderInUse):
        servers.start(folder, ["postgres", "valkey"])
    again = servers.start(folder, ["postgres", "valkey"])
    again.stop()


def test_a_footprint_counts_the_whole_tree(folder: Path) -> None:
    alone = footprint.tree_bytes(psutil.Process().pid)
    running = servers.start(folder, ["postgres"])
    pid = running.running["postgres"].process.pid
    try:
        assert pid in footprint.tree(psutil.Process().pid)
        assert len(footprint.tree(pid)) == 1 + len(psutil.Process(pid).children(recursive=True))
        assert footprint.tree_bytes(psutil.Process().pid) > alone + 5_000_000
    finally:
        running.stop()
