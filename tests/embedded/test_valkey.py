"""Valkey from the wheel: what it keeps, and where it listens."""

from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import redis

from app.embedded import valkey
from app.embedded.errors import FolderInUse
from tests.embedded.conftest import Holder, until_ended


def test_it_listens_on_its_socket_alone_never_as_root_and_never_evicts(folder: Path) -> None:
    running = valkey.start(folder / "valkey", databases=3)
    try:
        own = psutil.Process(running.process.pid)
        assert own.net_connections("inet") == []
        assert own.uids().effective != 0
        with redis.from_url(running.database(2)) as client:
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.ping()
        beyond = redis.from_url(running.database(3))
        with beyond, pytest.raises(redis.ResponseError, match="out of range"):
            beyond.ping()
        with pytest.raises(FolderInUse):
            valkey.start(folder / "valkey")
    finally:
        running.stop()


def test_what_it_was_told_is_there_after_a_kill_of_everything(
    folder: Path, holder: Callable[..., Holder]
) -> None:
    first = holder("valkey")
    with redis.from_url(first.said["cache_url"]) as client:
        for number in range(50):
            client.rpush("list", number)
    first.kill_everything()
    again = valkey.start(folder / "valkey")
    with redis.from_url(again.database(1)) as client:
        assert client.llen("list") == 50
    again.stop()


async def test_it_ends_with_its_starter(folder: Path, holder: Callable[..., Holder]) -> None:
    first = holder("valkey")
    server = first.server("valkey")
    first.kill()
    await until_ended(server)
    again = valkey.start(folder / "valkey")
    again.stop()
