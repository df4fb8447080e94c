"""docker-compose.yml and its image, read against the settings, the routes and the images' users."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from fastapi.routing import APIRoute
from typer.testing import CliRunner

from app.api import health
from app.bootstrap import settings
from app.bootstrap.settings import Settings
from app.cli.main import app as cli

ROOT = Path(__file__).parents[2]
OWN = ("migrate", "api", "worker", "quarantine", "control", "flower", "model")
# Users that these images make; the server would refuse to run as root, or drop to them itself.
USERS = {"pgvector/pgvector": "postgres", "valkey/valkey": "valkey"}
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()


def interpolated(text: str) -> str:
    """As compose reads it where no variable is set: each has a default, or this fails."""
    done = re.sub(r"\$\{(\w+):-([^}]*)\}", r"\2", text)
    assert "${" not in done
    return done


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    text = interpolated((ROOT / "docker-compose.yml").read_text())
    found: dict[str, Any] = yaml.safe_load(text)["services"]
    return found


def image_environment() -> dict[str, str]:
    words = re.findall(r"^ENV (.+)$", DOCKERFILE, re.MULTILINE)
    return dict(word.split("=", 1) for line in words for word in line.split())


def loaded(service: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings as that container's process would read them. Fails on a variable nobody reads."""
    for name, value in (image_environment() | service["environment"]).items():
        if name.startswith(settings.PREFIX):
            monkeypatch.setenv(name, value)
    return settings.load()


def test_the_same_processes_run_as_by_towpath_up(services: dict[str, Any]) -> None:
    assert set(services) == {*OWN, "postgres", "valkey"}
    assert [services[name]["command"][0] for name in OWN if name != "model"] == list(OWN[:-1])
    assert 'ENTRYPOINT ["towpath"]' in DOCKERFILE


def test_every_command_and_option_is_one_that_the_cli_takes(services: dict[str, Any]) -> None:
    # --help answers only once the words before it have been understood.
    lines = [[*services[name]["command"], "--help"] for name in OWN if name != "model"]
    answers = [CliRunner().invoke(cli, line).exit_code for line in lines]
    assert answers == [0] * len(lines)
    assert CliRunner().invoke(cli, ["api", "--no-such-option", "--help"]).exit_code == 2


@pytest.mark.parametrize("name", OWN)
def test_every_setting_is_one_that_the_platform_reads(
    services: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = loaded(services[name], monkeypatch)
    assert chosen.state_dir == Path("/var/lib/towpath")


def test_processes_reach_the_servers_by_their_names(
    services: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("api", "worker", "quarantine", "control", "flower"):
        chosen = loaded(services[name], monkeypatch)
        assert chosen.database_url == "postgresql://towpath_app:towpath@postgres:5432/towpath"
        assert chosen.broker_url == "redis://valkey:6379/0"
        assert chosen.llm_base_url == "http://model:8081/v1"
        assert chosen.database_owner_url is None


def test_only_the_migration_is_the_owner(services: dict[str, Any]) -> None:
    owners = [name for name in OWN if "towpath_owner" in str(services[name]["environment"])]
    assert owners == ["migrate"]


def test_no_container_runs_as_root(services: dict[str, Any]) -> None:
    for name, service in services.items():
        image = service["image"].partition(":")[0]
        if name in OWN:
            assert (image, service.get("user")) == ("towpath", None)
        else:
            assert service["user"] == USERS[image]
    user = re.findall(r"^USER (\w+)$", DOCKERFILE, re.MULTILINE)[-1]
    assert re.search(rf"useradd --uid [1-9]\d* .*{user}", DOCKERFILE)
    assert f"--owner {user} --mode 0700 /var/lib/towpath" in DOCKERFILE


def test_only_the_api_and_flower_are_published_and_on_loopback_alone(
    services: dict[str, Any],
) -> None:
    ports = {name: each["ports"] for name, each in services.items() if "ports" in each}
    assert ports == {"api": ["127.0.0.1:8080:8080"], "flower": ["127.0.0.1:5555:5555"]}


def test_everything_that_stays_has_a_health_check(services: dict[str, Any]) -> None:
    without = [name for name, each in services.items() if "healthcheck" not in each]
    assert without == ["migrate"]


def test_the_apis_health_check_asks_a_route_that_it_has(services: dict[str, Any]) -> None:
    asked = re.search(
        r"http://127\.0\.0\.1:8080(/\w+)", str(services["api"]["healthcheck"]["test"])
    )
    assert asked is not None
    assert asked[1] in {route.path for route in health.router.routes if isinstance(route, APIRoute)}


def test_processes_start_after_the_migration(services: dict[str, Any]) -> None:
    for name in ("api", "worker", "quarantine", "control", "flower"):
        needs = services[name]["depends_on"]
        assert needs["migrate"] == {"condition": "service_completed_successfully"}
        assert needs["postgres"] == needs["valkey"] == {"condition": "service_healthy"}


def test_a_worker_has_more_time_to_stop_than_it_takes(services: dict[str, Any]) -> None:
    for name in ("worker", "quarantine"):
        seconds = int(services[name]["stop_grace_period"].removesuffix("s"))
        assert seconds > Settings().leases.stop_grace.total_seconds()


def test_what_is_kept_lies_in_volumes(services: dict[str, Any]) -> None:
    assert services["postgres"]["image"] == "pgvector/pgvector:pg18"
    assert "postgres:/var/lib/postgresql" in services["postgres"]["volumes"]
    assert services["valkey"]["volumes"] == ["valkey:/data"]
    for name in ("api", "worker", "quarantine", "control"):
        assert services[name]["volumes"] == ["state:/var/lib/towpath"]


def test_the_broker_forgets_nothing(services: dict[str, Any]) -> None:
    command = " ".join(services["valkey"]["command"])
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_the_image_copies_what_is_there_and_what_the_context_lets_through() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    let_through = {line[1:] for line in ignored if line.startswith("!")}
    copied = re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE)
    sources = {word for line in copied for word in line.split()}
    assert sources == let_through
    for source in sources - {"README.md"}:
        assert (ROOT / source).exists()
