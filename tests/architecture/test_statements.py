"""Hot SQL: every file is valid, says its contract, and the hottest walk indexes at any queue length."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from app.core import ids, statements
from app.core.groupcommit import SETTINGS
from app.core.ids import TenantId
from app.retention import purge
from app.scheduling import dispatch
from tests.arrange import make_tenant, make_workflow

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "app").glob("*/sql/*.sql"))
HEAD = re.compile(r"^-- \S.*\n(?:--.*\n)*-- Takes .*\n(?:--.*\n)*-- Gives .*\n(?:--.*\n)*-- Locks ")


def loaded(path: Path) -> statements.Statement:
    return statements.load(str(path.parent.parent / "module.py"), path.stem)


def numbered(statement: statements.Statement) -> str:
    """A statement as PREPARE takes it."""
    places = {bind: f"${n + 1}" for n, bind in enumerate(statement.binds)}
    body = re.sub(r"%\((\w+)\)s", lambda found: places[found[1]], statement.raw)
    return body.replace("%%", "%")


def test_every_statement_is_valid_and_says_its_contract(admin: psycopg.Connection) -> None:
    faults = {}
    for path in FILES:
        name = f"{path.parent.parent.name}/{path.stem}"
        if not HEAD.match(path.read_text()):
            faults[name] = "the head says what it does, takes, gives and locks"
        try:
            admin.execute(f"PREPARE probe AS {numbered(loaded(path))}", prepare=False)
            admin.execute("DEALLOCATE probe")
        except psycopg.Error as error:
            faults[name] = str(error)
    assert faults == {}


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def explain(
    connection: psycopg.Connection[Any], name: str, bind: dict[str, Any]
) -> list[dict[str, Any]]:
    cursor = psycopg.ClientCursor(connection)
    cursor.execute("EXPLAIN (FORMAT JSON) " + called(name).raw, bind)
    row = cursor.fetchone()
    assert row is not None
    return list(nodes(row[0][0]["Plan"]))


def explain_generic(connection: psycopg.Connection[Any], name: str) -> list[dict[str, Any]]:
    """The plan that is made once, for any values."""
    body = numbered(called(name))
    cursor = psycopg.RawCursor(connection)
    cursor.execute(f"EXPLAIN (FORMAT JSON, GENERIC_PLAN) {body}".encode(), prepare=False)
    row = cursor.fetchone()
    assert row is not None
    return list(nodes(row[0][0]["Plan"]))


def called(name: str) -> statements.Statement:
    [path] = [path for path in FILES if f"{path.parent.parent.name}/{path.stem}" == name]
    return loaded(path)


@pytest.fixture
def queue(admin: psycopg.Connection, tenant: TenantId) -> list[TenantId]:
    """20,000 jobs of twenty tenants, a few of them running; the planner has been told."""
    tenants = [tenant, *(make_tenant(admin, f"t{n}") for n in range(19))]
    for each in tenants:
        version = make_workflow(admin, each)
        admin.execute(
            """INSERT INTO job (id, tenant, workflow, version, version_number, state, lane, priority, rank, cap_group,
                                input, predicted_nanousd, max_attempts, metadata, tags, created_at, queued_at)
               SELECT uuidv7(), %s, 'noop', %s, 1, 'queued', 'standard', 4, now() + n * interval '1 ms', 7,
                      '{}', 1, 3, '{}', '{}', now(), now() FROM generate_series(1, 1000) n""",
            (each, version),
        )
    admin.execute(
        """WITH early AS (SELECT id FROM job ORDER BY id LIMIT 200), made AS (
             INSERT INTO attempt (id, tenant, job, run, number, state, worker, claimed_at, lease_until, dispatched_at)
             SELECT uuidv7(), tenant, id, 1, 1, 'running', uuidv7(), now(), now(), now()
               FROM job WHERE id IN (SELECT id FROM early) RETURNING id, job)
           UPDATE job SET state = 'running', current_attempt = made.id, started_at = now(), attempts = 1
             FROM made WHERE job.id = made.job"""
    )
    admin.execute("VACUUM ANALYZE")
    return tenants


def hot(url: str, settings: dict[str, str]) -> psycopg.Connection[Any]:
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return psycopg.connect(url, autocommit=True, options=options)


BIG = {"job", "attempt", "job_event", "step", "reservation", "idempotency_record"}


def whole_reads(plan: list[dict[str, Any]]) -> list[str]:
    """Big tables that a plan reads from end to end."""
    return [
        f"{node['Node Type']} {node['Relation Name']}"
        for node in plan
        if node.get("Relation Name") in BIG
        and node["Node Type"] in ("Seq Scan", "Parallel Seq Scan")
    ]


def indexes(plan: list[dict[str, Any]]) -> set[str]:
    return {node["Index Name"] for node in plan if "Index Name" in node}


def sorts_jobs(plan: list[dict[str, Any]]) -> bool:
    """Whether a plan puts jobs in order itself, which takes time by the length of a line."""
    return any(
        node["Node Type"] in ("Sort", "Incremental Sort")
        and any(under.get("Relation Name") == "job" for under in nodes(node))
        for node in plan
    )


def test_dispatch_walks_the_queue_by_its_index(app_url: str, queue: list[TenantId]) -> None:
    with hot(app_url, dict(dispatch.SETTINGS)) as connection:
        lines = explain_generic(connection, "scheduling/lines")
        assert indexes(lines) == {"job_queued", "tenant_pkey", "served_pkey", "workflow_cost_pkey"}
        assert not sorts_jobs(lines)
        deeper = explain_generic(connection, "scheduling/deeper")
        assert indexes(deeper) == {"job_queued", "workflow_cost_pkey"}
        assert not sorts_jobs(deeper)
        assert indexes(explain_generic(connection, "scheduling/running")) == {"job_active"}
        slots = explain_generic(connection, "scheduling/slots")
        assert indexes(slots) == {"worker_heard", "attempt_of_worker", "pause_pkey"}
        assert indexes(explain_generic(connection, "jobs/dispatch")) == {"job_pkey"}
        use = explain_generic(connection, "scheduling/use")
        assert indexes(use) == {"attempt_of_worker", "worker_pkey"}
        for plan in (lines, deeper, slots, use):
            assert not whole_reads(plan)


def test_the_queue_is_counted_in_the_order_of_its_index(
    app_url: str, queue: list[TenantId]
) -> None:
    bind = {
        "lane": "", "bucket": 0, "tenant": UUID(int=0), "cap_group": 0, "rank": datetime(1, 1, 1, tzinfo=UTC),
        "job": UUID(int=0), "page": 5_000,
    }  # fmt: skip
    with hot(app_url, {"enable_seqscan": "off"}) as connection:
        counted = explain(connection, "intake/count_page", bind)
    assert indexes(counted) == {"job_queued"}
    [page] = [node for node in counted if node["Node Type"] == "Limit"]
    assert page["Plans"][0]["Node Type"] == "Index Scan"


def pairs(admin: psycopg.Connection) -> list[tuple[UUID, UUID]]:
    return admin.execute(
        "SELECT id, current_attempt FROM job WHERE state = 'running' LIMIT 50"
    ).fetchall()


@pytest.mark.parametrize(
    "name", ["jobs/claim", "jobs/end_attempts", "jobs/note", "workflows/record"]
)
def test_grouped_writes_find_their_rows_by_key(
    name: str, app_url: str, admin: psycopg.Connection, queue: list[TenantId]
) -> None:
    items = [
        {"job": str(job), "attempt": str(attempt), "n": n}
        for n, (job, attempt) in enumerate(pairs(admin))
    ]
    bind = {"items": json.dumps(items), "worker": ids.new(), "lease": timedelta(seconds=6)}
    with hot(app_url, dict(SETTINGS)) as connection:
        plan = explain(connection, name, bind)
    assert not whole_reads(plan)
    assert indexes(plan) & {"job_pkey", "attempt_pkey"}


def test_claims_and_ends_go_by_key_also_where_few_attempts_seemed_open(
    app_url: str, admin: psycopg.Connection, queue: list[TenantId]
) -> None:
    """Statistics of a quiet moment: with them an end once read all open attempts for each of its items."""
    items = [{"job": str(job), "attempt": str(attempt)} for job, attempt in pairs(admin)]
    admin.execute("UPDATE attempt SET state = 'ended', ended_at = now(), outcome = 'lost'")
    admin.execute("UPDATE job SET state = 'queued', current_attempt = NULL WHERE state = 'running'")
    admin.execute("VACUUM ANALYZE attempt, job")
    bind = {"items": json.dumps(items), "worker": ids.new(), "lease": timedelta(seconds=6)}
    with hot(app_url, dict(SETTINGS)) as connection:
        for name in ("jobs/claim", "jobs/end_attempts"):
            used = indexes(explain(connection, name, bind))
            assert used >= {"job_pkey", "attempt_pkey"}
            assert not used & {"attempt_of_worker", "attempt_leased", "job_active"}


def test_admission_reads_no_table_whole(app_url: str, queue: list[TenantId]) -> None:
    items = [
        {"n": n, "job": str(ids.new()), "tenant": str(queue[0]), "intent": f"k{n}"}
        for n in range(50)
    ]
    with hot(app_url, dict(SETTINGS)) as connection:
        plan = explain(
            connection, "intake/admit", {"items": json.dumps(items), "kept": timedelta(hours=24)}
        )
    assert not whole_reads(plan)
    assert "idempotency_record_pkey" in indexes(plan)


def test_heartbeats_and_the_reaper_use_their_indexes(
    app_url: str, admin: psycopg.Connection, queue: list[TenantId]
) -> None:
    held = pairs(admin)
    with hot(app_url, dict(SETTINGS)) as connection:
        attempts = [attempt for _, attempt in held]
        bind = {"attempts": attempts, "worker": ids.new(), "lease": timedelta(seconds=6)}
        assert not whole_reads(explain(connection, "attempts/renew", bind))
        signals = {"attempts": attempts, "jobs": [job for job, _ in held]}
        assert not whole_reads(explain(connection, "jobs/signals", signals))
        lapsed = explain(connection, "jobs/lapsed", {"batch": 100})
        assert not whole_reads(lapsed)
        assert "attempt_leased" in indexes(lapsed)


def test_the_purge_walks_keys_and_reads_no_table_whole(app_url: str, queue: list[TenantId]) -> None:
    with hot(app_url, dict(purge.SETTINGS)) as connection:
        assert indexes(explain_generic(connection, "retention/page")) == {"job_pkey"}
        over = explain_generic(connection, "retention/passed_over")
        assert indexes(over) == {"purge_later_pkey", "job_pkey"}
        sent = explain_generic(connection, "retention/deliveries")
        assert indexes(sent) >= {"outbox_event_pkey", "delivery_of_event"}
        for name in ("retention/erase", "retention/forget"):
            plan = explain_generic(connection, name)
            assert not whole_reads(plan)
            assert indexes(plan) >= {"job_pkey", "step_of_job", "effect_of_job"}


def test_moving_and_explaining_read_what_waits_and_what_runs_alone(
    app_url: str, queue: list[TenantId]
) -> None:
    asked = dict.fromkeys(("workflow", "tag", "lane", "state", "to_priority"))
    bind = asked | {"tenant": queue[0], "to_lane": "batch", "batch": 500}
    jobs = {"jobs": [ids.new()], "tenant": None, "lane": "batch", "priority": 1}
    left = {"tenant": queue[0], "lane": None, "workflow": "noop", "most": 10_000}
    with hot(app_url, dict(SETTINGS)) as connection:
        movable = explain(connection, "jobs/movable", bind)
        assert indexes(movable) <= {"job_queued", "job_tenant_id_key", "job_waking"}
        moves = explain(connection, "jobs/move", jobs | {"head_start": timedelta(seconds=60)})
        assert indexes(moves) == {"job_pkey"}
        for plan in (movable, moves, explain(connection, "views/left", left)):
            assert not whole_reads(plan)
