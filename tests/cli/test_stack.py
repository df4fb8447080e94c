"""What `towpath up` decides before it starts anything. Starting is in tests/journeys/test_up.py."""

import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.bootstrap.settings import Settings
from app.cli import stack
from app.cli.stack import Options, Started
from app.embedded import states


@pytest.fixture
def state() -> Iterator[Path]:
    made = states.temporary()
    yield made
    shutil.rmtree(made)


async def never(started: Started) -> dict[str, Any]:
    raise AssertionError(f"started on {started.state}")


@pytest.mark.parametrize(
    ("elsewhere", "left_out"),
    [
        ({}, set()),
        ({"database_url": "postgresql://app@db/towpath"}, {"postgres"}),
        ({"broker_url": "redis://broker:6379/0"}, {"valkey"}),
        ({"llm_base_url": "https://models.example/v1"}, {"model"}),
        ({"llm": {"base_url": "https://models.example/v1"}}, {"model"}),
    ],
)
def test_a_part_that_a_setting_points_elsewhere_is_not_started(
    elsewhere: dict[str, Any], left_out: set[str]
) -> None:
    wanted = stack.wanted_servers(Settings(**elsewhere))
    assert {"postgres", "valkey", "model"} - set(wanted) == left_out


def test_the_state_is_where_the_command_says_else_the_setting_else_the_default(
    tmp_path: Path,
) -> None:
    chosen = Settings(state_dir=tmp_path / "set")
    assert Options.of(chosen, data=tmp_path / "given").state == tmp_path / "given"
    assert Options.of(chosen).state == tmp_path / "set"
    assert Options.of(Settings()).state == stack.default_state()


def test_a_taken_port_that_was_asked_for_is_refused_before_anything_starts(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        status = stack.up(Options.of(Settings(), data=state, port=port), never)
    assert status == 1
    assert f"Port {port} of 127.0.0.1 is taken" in capsys.readouterr().err
    assert not (state / "postgres").exists()


@pytest.mark.parametrize(("once", "status"), [(False, 0), (True, 1)])
def test_a_second_up_says_so_and_where(
    state: Path, capsys: pytest.CaptureFixture[str], once: bool, status: int
) -> None:
    written = '{"pid": 4242, "api_url": "http://127.0.0.1:1", "flower_url": "http://127.0.0.1:2"}'
    (state / "stack.json").write_text(written)
    with states.lock(state / "lock"):
        assert stack.up(Options.of(Settings(), data=state, once=once), never) == status
    said = capsys.readouterr().err
    assert f"already runs on {state} (process 4242); nothing was changed" in said
    assert "http://127.0.0.1:1" in said
    assert (state / "stack.json").read_text() == written


def test_what_a_killed_up_has_written_counts_for_nothing(state: Path) -> None:
    (state / "stack.json").write_text('{"pid": 4242}')
    assert stack.read_running(state) is None


def test_a_folder_that_cannot_be_used_is_refused_by_name(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (state / "file").touch()
    assert stack.up(Options.of(Settings(), data=state / "file" / "x"), never) == 1
    assert str(state / "file" / "x") in capsys.readouterr().err
