"""What operators do by the command line is done, shown, refused with a status, and audited."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner, Result

from app.cli import admin, audit
from app.core import ids
from tests.arrange import make_jobs, make_tenant, make_worker, make_workflow

Run = Callable[..., Result]


@pytest.fixture
def towpath(monkeypatch: pytest.MonkeyPatch, app_url: str) -> Run:
    monkeypatch.setenv("TOWPATH_DATABASE_URL", app_url)
    apps = {"admin": admin.app, "audit": audit.app}

    def run(command: str) -> Result:
        room, *words = command.split()
        return CliRunner().invoke(apps[room], words)

    return run


def told(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def actions(connection: psycopg.Connection) -> list[tuple[str, str]]:
    rows = connection.execute("SELECT body FROM audit_entry ORDER BY id").fetchall()
    bodies = [json.loads(body) for (body,) in rows]
    return [(body["action"], body["actor"]["kind"]) for body in bodies]


def test_a_tenant_is_made_whole_and_changed(towpath: Run, admin: psycopg.Connection) -> None:
    made = told(towpath("admin tenants create acme --limit 12.5 --weight 3 --json"))
    assert (made["slug"], made["name"], made["weight"], made["state"]) == (
        "acme",
        "acme",
        3,
        "active",
    )
    budget = told(towpath("admin budgets show acme --json"))
    assert (budget["limit"], budget["spent"], budget["free"]) == ("12.5", "0", "12.5")
    shipped = admin.execute("SELECT name FROM workflow WHERE released > 0 ORDER BY name").fetchall()
    assert ("answer",) in shipped

    told(towpath("admin tenants suspend acme --reason unpaid --json"))
    told(towpath("admin tenants set acme --max-running 7 --require-idempotency --json"))
    (listed,) = told(towpath("admin tenants list --json"))["data"]
    assert listed == made | {"state": "suspended", "max_running": 7, "requires_idempotency": True}
    assert told(towpath("admin tenants resume acme --reason paid --json"))["state"] == "active"
    raised = told(towpath("admin budgets set acme --limit 20 --reason more --json"))
    assert raised["limit"] == "20"
    by_people = [action for action, kind in actions(admin) if kind == "operator"]
    assert by_people == [
        "tenant.create", "budget.open", "tenant.suspend", "tenant.set_caps", "tenant.resume", "budget.set_limit",
    ]  # fmt: skip


def test_limits_are_a_plans_or_the_tenants_own(towpath: Run, admin: psycopg.Connection) -> None:
    make_tenant(admin, "acme")
    told(towpath("admin plans create small --json"))
    told(towpath("admin limits rate plan:small --per-minute 60 --reason plan --json"))
    told(towpath("admin limits queue plan:small --lane batch --jobs 1000 --cost 5.5 --reason plan"
                 " --json"))  # fmt: skip
    told(towpath("admin tenants set acme --plan small --json"))
    planned = told(towpath("admin limits show acme --json"))["data"]
    assert [(one["name"], one["per_minute"], one["burst"], one["jobs"], one["cost"]) for one in planned] == [
        ("tenant-requests", 60, 60, None, None), ("batch", None, None, 1000, "5.5"),
    ]  # fmt: skip
    (own, _) = told(
        towpath("admin limits rate acme --per-minute 90 --burst 9 --reason asked --json")
    )["data"]
    assert (own["per_minute"], own["burst"], own["when_lost"]) == (90, 9, "hold")
    (again, _) = told(towpath("admin limits clear acme tenant-requests --reason back --json"))[
        "data"
    ]
    assert again["per_minute"] == 60
    left = told(towpath("admin limits clear acme tenant-requests --reason free --json"))["data"]
    assert [one["name"] for one in left] == ["batch"]
    (plan,) = told(towpath("admin plans list --json"))["data"]
    assert [one["name"] for one in plan["limits"]] == ["tenant-requests", "batch"]
    by_people = [action for action, kind in actions(admin) if kind == "operator"]
    assert by_people == [
        "plan.create", "plan.set_limits", "plan.set_limits", "tenant.set_caps", "tenant.set_limits",
        "tenant.set_limits", "tenant.set_limits",
    ]  # fmt: skip


def test_tools_are_granted_and_taken_back(
    towpath: Run, admin: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "fakes" / "far_tools"))
    make_tenant(admin, "acme")
    listed = told(towpath("admin tools list --json"))["data"]
    assert {"calculator", "far.keyed", "json.extract"} <= {one["tool"] for one in listed}
    limits = '{"maxProperties":1}'
    made = told(
        towpath(f"admin tools grant acme far.keyed --reason asked --limits {limits} --json")
    )
    assert (made["tool"], made["limits"]) == ("far.keyed", {"maxProperties": 1})
    assert len(told(towpath("admin tools list acme --json"))["data"]) == 1
    assert towpath("admin tools grant acme far.kyed --reason asked").exit_code == 1
    assert towpath("admin tools grant acme far.keyed --reason asked --limits [1]").exit_code == 2
    told(towpath("admin tools revoke acme far.keyed --reason over --json"))
    assert told(towpath("admin tools list acme --json"))["data"] == []
    assert [action for action, _ in actions(admin)] == ["tool.grant", "tool.revoke"]


def test_caps_on_what_runs_at_once_are_set_and_taken_away(
    towpath: Run, admin: psycopg.Connection
) -> None:
    make_tenant(admin, "acme")
    told(towpath("admin caps set 500 --reason machine --json"))
    told(towpath("admin caps set 9 --workflow answer --reason load --json"))
    made = told(towpath("admin caps set 3 --tenant acme --resource crm-api --reason asked --json"))
    assert made == {"tenant": "acme", "kind": "resource", "name": "crm-api", "max_running": 3}
    told(towpath("admin caps set 2 --tenant acme --resource crm-api --reason less --json"))
    told(towpath("admin caps clear --workflow answer --reason done --json"))
    listed = told(towpath("admin caps list --json"))["data"]
    assert [(one["tenant"], one["kind"], one["name"], one["max_running"]) for one in listed] == [
        (None, "all", "", 500), ("acme", "resource", "crm-api", 2),
    ]  # fmt: skip
    assert [action for action, _ in actions(admin)] == [*["cap.set"] * 4, "cap.clear"]
    rows = admin.execute("SELECT body FROM audit_entry ORDER BY id").fetchall()
    last = json.loads(rows[3][0])
    assert (last["before"], last["after"]) == ({"max_running": 3}, {"max_running": 2})


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("admin caps set -- -1 --reason x", 2),
        ("admin caps set 5 --tenant acme --reason x", 1),
        ("admin caps set 5 --tenant nobody --workflow answer --reason x", 1),
        ("admin caps set 5 --key key_01 --reason x", 1),
        ("admin caps set 5 --tenant acme --key no --reason x", 1),
        ("admin caps set 5 --workflow answer --resource crm --reason x", 2),
        ("admin caps set 2000000 --workflow answer --reason x", 1),
        ("admin caps clear --workflow answer --reason x", 1),
    ],
)
def test_a_cap_that_can_not_be_is_refused(
    towpath: Run, admin: psycopg.Connection, command: str, status: int
) -> None:
    make_tenant(admin, "acme")
    assert towpath(command).exit_code == status
    assert told(towpath("admin caps list --json"))["data"] == []


@pytest.mark.parametrize(
    "command",
    [
        "admin limits rate acme --per-minute 0 --reason x",
        "admin limits rate acme --per-minute 5 --unit calls --reason x",
        "admin limits rate acme --per-minute 5 --of users --reason x",
        "admin limits queue acme --lane slow --jobs 1 --reason x",
        "admin limits queue acme --lane batch --jobs -1 --reason x",
        "admin limits queue acme --lane batch --cost much --reason x",
        "admin limits clear plan:small nothing --reason x",
        "admin limits show plan:none",
        "admin tenants set acme --plan none",
        "admin plans create small",
        "admin plans create Small",
    ],
)
def test_a_limit_that_can_not_be_is_refused(
    towpath: Run, admin: psycopg.Connection, command: str
) -> None:
    make_tenant(admin, "acme")
    told(towpath("admin plans create small --json"))
    assert towpath(command).exit_code == 1
    assert told(towpath("admin limits show acme --json"))["data"] == []


def test_a_key_is_shown_once(towpath: Run, admin: psycopg.Connection) -> None:
    make_tenant(admin, "acme")
    made = told(
        towpath(
            "admin keys issue acme --name ci --scope jobs:read --scope jobs:write --expires-at 2999-01-31 --json"
        )
    )
    assert made["secret"].startswith(made["prefix"])
    assert (made["scopes"], made["expires_at"]) == (
        ["jobs:read", "jobs:write"],
        "2999-01-31T00:00:00.000000Z",
    )
    (listed,) = told(towpath("admin keys list acme --json"))["data"]
    assert listed == {name: value for name, value in made.items() if name != "secret"}
    revoked = told(towpath(f"admin keys revoke acme {made['id']} --json"))
    assert revoked["revoked_at"] is not None
    assert [action for action, _ in actions(admin)] == ["key.issue", "key.revoke"]


def test_prices_are_entered_in_usd_a_million_tokens(
    towpath: Run, admin: psycopg.Connection
) -> None:
    made = told(
        towpath(
            "admin prices set acme-ai big-1 --input 2.5 --output 10 --cached-input 0.000001 --json"
        )
    )
    assert made["cached_input_usd_per_million"] == "0.000001"
    stored = admin.execute(
        "SELECT input_picousd, cached_input_picousd, output_picousd FROM price WHERE model = 'big-1'"
    ).fetchone()
    assert stored == (2_500_000, 1, 10_000_000)
    imported = told(towpath("admin prices import openai gpt-4o-mini --json"))
    listed = told(towpath("admin prices list --json"))["data"]
    assert {one["model"] for one in listed} == {"big-1", "gpt-4o-mini"}
    assert imported in listed


def test_parts_of_the_queue_are_paused_drained_and_resumed(
    towpath: Run, admin: psycopg.Connection
) -> None:
    make_tenant(admin, "acme")
    worker = ids.wire("wrk", make_worker(admin, 5))
    lane = told(towpath("admin pause lane batch --reason storm --json"))
    assert (lane["kind"], lane["name"], lane["tenant"]) == ("lane", "batch", None)
    assert lane["paused"]["reason"] == "storm"
    told(towpath("admin drain workflow answer --tenant acme --reason new --json"))
    told(towpath("admin drain tenant acme --reason leaving --json"))
    assert told(towpath(f"admin drain worker {worker} --reason kernel --json"))["empty"] is True
    shown = told(towpath("admin pauses --json"))["data"]
    assert {(one["kind"], one["name"], one["tenant"]) for one in shown} == {
        ("lane", "batch", None), ("workflow", "answer", "acme"), ("tenant", "acme", "acme"),
        ("worker", worker, None),
    }  # fmt: skip
    assert told(towpath("admin workers --json"))["data"][0]["state"] == "drained"
    assert told(towpath("admin lanes --json"))["data"][2]["held"] == ["pause"]
    assert "storm" in towpath("admin pauses").stdout
    over = told(towpath("admin resume lane batch --reason over --json"))
    assert (over["paused"], over["draining"]) == (None, None)
    assert [action for action, _ in actions(admin)] == [
        "queue.pause", "queue.drain", "queue.drain", "queue.drain", "queue.resume",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("command", "status"),
    [
        ("admin pause lane slow --reason x", 2),
        ("admin pause queue batch --reason x", 2),
        ("admin pause lane batch", 2),
        ("admin pause tenant acme --tenant acme --reason x", 2),
        ("admin pause tenant nobody --reason x", 1),
        ("admin drain lane batch --tenant nobody --reason x", 1),
        ("admin drain worker wrk_1 --reason x", 1),
        ("admin drain worker wrk_01m895ssm0egw982dg0q9s7cy7 --reason x", 1),
    ],
)
def test_a_part_that_is_not_there_is_not_paused(
    towpath: Run, admin: psycopg.Connection, command: str, status: int
) -> None:
    make_tenant(admin, "acme")
    assert towpath(command).exit_code == status
    assert told(towpath("admin pauses --json"))["data"] == []


def test_jobs_that_wait_are_moved_by_filter(towpath: Run, admin: psycopg.Connection) -> None:
    tenant = make_tenant(admin, "acme")
    version = make_workflow(admin, tenant)
    make_jobs(admin, tenant, version, 2, tags=["night"])
    make_jobs(admin, tenant, version)
    command = "admin move --tenant acme --tag night --to-lane batch --to-priority 1 --reason load"
    assert told(towpath(f"{command} --json")) == {"moved": 2, "kept": 0}
    lanes = admin.execute("SELECT lane, priority FROM job ORDER BY id").fetchall()
    assert lanes == [("batch", 1), ("batch", 1), ("standard", 4)]
    assert [action for action, _ in actions(admin)] == ["job.move"]
    assert towpath("admin move --to-lane batch --reason x").exit_code == 1
    assert towpath("admin move --tenant nobody --to-lane batch --reason x").exit_code == 1
    assert towpath("admin move --tenant acme --reason x").exit_code == 1


def test_a_switch_is_moved(towpath: Run, admin: psycopg.Connection) -> None:
    off = told(towpath("admin switches off model_calls --reason outage --json"))
    assert (off["off"], off["reason"]) == (True, "outage")
    listed = told(towpath("admin switches list --json"))["data"]
    assert {one["name"]: one["off"] for one in listed} == {
        "admission": False, "model_calls": True, "webhooks": False,
    }  # fmt: skip
    assert told(towpath("admin switches on model_calls --reason over --json"))["off"] is False
    assert [action for action, _ in actions(admin)] == ["switch.turn_off", "switch.turn_on"]


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        ("admin tenants create Not_A_Slug --limit 1", 1, "slug"),
        ("admin tenants create acme --limit 1", 1, "slug: another tenant has it"),
        ("admin tenants suspend nobody --reason x", 1, "No tenant is called nobody."),
        ("admin tenants create other --limit 0.0000000001", 2, "finer"),
        ("admin tenants create other --limit -1", 2, "zero"),
        ("admin keys issue acme --name ci --scope everything", 1, "unknown: everything"),
        ("admin keys revoke acme key_nonsense", 1, "No such key."),
        ("admin keys issue acme --name ci --scope jobs:read --expires-at soon", 2, "time"),
        ("admin prices set a b --input 0.0000001 --output 1", 2, "decimals"),
        ("admin prices set a b --input 1 --output 1 --from-at 2020-01-01", 1, "past"),
        ("admin prices import nobody nothing", 1, "prices set"),
        ("admin switches off everything --reason x", 1, "admission, model_calls, webhooks"),
        ("admin switches off admission", 2, "--reason"),
        ("audit verify --chain nobody", 1, "No tenant is called nobody."),
        ("audit verify --chain platform", 1, "Nothing was ever written"),
    ],
)
def test_what_is_refused_changes_nothing_and_says_why(
    towpath: Run, admin: psycopg.Connection, command: str, status: int, said: str
) -> None:
    make_tenant(admin, "acme")
    result = towpath(command)
    assert result.exit_code == status, result.output
    assert said in result.stderr
    assert actions(admin) == []


def test_without_a_database_the_operator_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TOWPATH_DATABASE_URL", "postgresql://towpath_app@127.0.0.1:1/none")
    for app, words in ((admin.app, ["tenants", "list"]), (audit.app, ["verify"])):
        assert CliRunner().invoke(app, words).exit_code == 2
    monkeypatch.delenv("TOWPATH_DATABASE_URL")
    monkeypatch.setenv("TOWPATH_STATE_DIR", str(tmp_path))
    result = CliRunner().invoke(admin.app, ["tenants", "list"])
    assert (result.exit_code, "TOWPATH_DATABASE_URL" in result.stderr) == (2, True)


def test_the_trail_is_verified_with_a_status_for_scripts(
    towpath: Run, admin: psycopg.Connection
) -> None:
    assert told(towpath("audit verify --json")) == {"verified": True, "chains": []}
    acme = told(towpath("admin tenants create acme --limit 1 --json"))
    told(towpath("admin switches off webhooks --reason flood --json"))
    unsealed = told(towpath("audit verify --json"))
    assert unsealed["verified"] is True
    assert {chain["chain"]: chain["sealed"] for chain in unsealed["chains"]} == {
        "platform": 0,
        acme["id"]: 0,
    }
    assert all(chain["oldest_unsealed_seconds"] >= 0 for chain in unsealed["chains"])
    for name in ("acme", acme["id"], "platform"):
        (one,) = told(towpath(f"audit verify --chain {name} --json"))["chains"]
        assert one["chain"] == ("platform" if name == "platform" else acme["id"])

    admin.execute(
        "DELETE FROM audit_pending WHERE entry = (SELECT entry FROM audit_pending ORDER BY entry LIMIT 1)"
    )
    result = towpath("audit verify --json")
    assert result.exit_code == 1
    said = json.loads(result.stdout.splitlines()[-1])
    assert said["verified"] is False
    broken = [chain["broken"] for chain in said["chains"] if chain["broken"]]
    assert [one["what"] for one in broken] == ["unchained"]
    assert broken[0]["entry"].startswith("aud_")
    assert "unchained" in towpath("audit verify").stdout
