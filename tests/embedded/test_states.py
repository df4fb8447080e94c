"""State folders: which are refused, in words that name them; ports; locks."""

import os
import socket
from pathlib import Path

import pytest

from app.embedded import states
from app.embedded.errors import FolderInUse, FolderRefused


def test_a_folder_that_the_servers_user_cannot_reach_is_refused_by_name(folder: Path) -> None:
    closed = folder / "closed"
    closed.mkdir()
    (closed / "something").touch()
    # Root may go anywhere, its servers' user may not; an ordinary user is stopped by the write bit.
    closed.chmod(0o700 if os.geteuid() == 0 else 0o500)
    with pytest.raises(FolderRefused) as refused:
        states.prepare(closed / "state")
    assert str(closed / "state") in str(refused.value)
    assert "hoose" in str(refused.value)
    closed.chmod(0o700)


def test_a_folder_below_a_file_is_refused_by_name(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(FolderRefused, match=str(folder / "file" / "state")):
        states.prepare(folder / "file" / "state")


def test_a_folder_of_another_user_is_refused_before_its_server_is_started(folder: Path) -> None:
    states.prepare(folder / "pg")
    (folder / "pg" / "data").mkdir()
    if os.geteuid() == 0:
        os.chown(folder / "pg" / "data", 4242, 4242)
        with pytest.raises(FolderRefused, match="4242"):
            states.claim(folder / "pg", socket_name="x")
    else:
        states.claim(folder / "pg", socket_name="x").abandon()


def test_an_empty_folder_handed_over_is_made_reachable(folder: Path) -> None:
    given = folder / "given"
    given.mkdir(mode=0o700)
    states.prepare(given)
    account = states.unprivileged()
    assert account is None or states.unreachable(account, given) is None


def test_the_default_lies_in_the_checkout_where_that_can_be_reached(folder: Path) -> None:
    assert states.default(folder) == folder / ".towpath"


def test_the_default_of_a_checkout_closed_to_the_servers_user_lies_elsewhere(folder: Path) -> None:
    one, other = folder / "closed" / "my path", folder / "closed" / "other"
    one.mkdir(parents=True)
    other.mkdir()
    (folder / "closed").chmod(0o700)
    if os.geteuid() == 0:
        assert states.default(one).parent == Path("/var/lib/towpath")
        assert states.default(one).name.startswith("my-path-")
        assert states.default(one) != states.default(other)
    else:
        assert states.default(one) == one / ".towpath"


def test_a_port_is_remembered_while_it_is_free(folder: Path) -> None:
    first = states.remembered_port(folder / "port")
    assert states.remembered_port(folder / "port") == first
    with socket.socket() as other:
        other.bind(("127.0.0.1", first))
        other.listen()
        second = states.remembered_port(folder / "port")
        assert second != first
    assert states.remembered_port(folder / "port") == second


def test_a_claim_keeps_others_out_until_it_is_let_go(folder: Path) -> None:
    claimed = states.claim(folder / "x", socket_name="s")
    with pytest.raises(FolderInUse):
        states.claim(folder / "x", socket_name="s")
    claimed.abandon()
    states.claim(folder / "x", socket_name="s").abandon()


def test_a_temporary_socket_folder_taken_over_by_another_is_not_used_again(folder: Path) -> None:
    deep = folder / ("x" * 100)
    first = states.claim(deep, socket_name="s")
    first.abandon()
    first.sockets.rmdir()
    first.sockets.symlink_to("/tmp")  # noqa: S108
    second = states.claim(deep, socket_name="s")
    second.abandon()
    first.sockets.unlink()
    assert second.sockets != first.sockets
    second.sockets.rmdir()
