"""Money over HTTP: usage as JSON and CSV, line by line, receipts, steps, budgets; exact to the last digit."""

import csv
import io
from collections.abc import AsyncIterator
from decimal import Decimal

import psycopg
import pytest
from psycopg.types.json import Jsonb

from app.budgets import ledger
from app.budgets.ledger import Place
from app.core import ids
from app.core.db import Database
from app.core.ids import TenantId
from tests.api.client import Client
from tests.budgets import scene
from tests.budgets.scene import Spender


@pytest.fixture
async def spender(db: Database, admin: psycopg.Connection) -> AsyncIterator[Spender]:
    opened = ledger.open_ledger(db)
    yield Spender(opened, scene.enter_price(admin))
    await ledger.close(opened)


@pytest.fixture
async def place(
    spender: Spender, admin: psycopg.Connection, tenant: TenantId, secret: str
) -> Place:
    """A running job that has paid for two calls, and holds money for a third."""
    place = scene.begin(admin, tenant)
    await spender.settle(await spender.held(place, 1_000), 123)
    await spender.settle(await spender.held(place, 1_000), 456)
    await spender.held(place, 70)
    facts = {
        "prompt": "draft@1", "provider": "fake", "model": "fake-1", "route": "first", "cache": "miss",
        "calls": 2, "input_tokens": 0, "cached_tokens": 0, "output_tokens": 579, "reasoning_tokens": 0,
        "cost_nanousd": 579,
    }  # fmt: skip
    admin.execute(
        "INSERT INTO step (id, tenant, job, attempt, name, item, kind, state, result, facts, started_at,"
        " finished_at) VALUES (%s, %s, %s, %s, 'draft', 0, 'model', 'succeeded', %s, %s,"
        " app_now() - interval '1.5 s', app_now())",
        (ids.new(), tenant, place.job, place.attempt, Jsonb({"text": "Yes."}), Jsonb(facts)),
    )
    return place


async def test_the_report_its_lines_and_the_receipt_agree(api: Client, place: Place) -> None:
    job = ids.wire("job", place.job)
    report = (await api.get("/v1/usage?group_by=workflow,model")).json
    assert report["group_by"] == ["workflow", "model"]
    (group,) = report["data"]
    assert (group["workflow"], group["model"], group["calls"]) == ("noop", "fake-1", 2)
    assert group["cost"] == "0.000000579"
    assert report["total"]["cost"] == group["cost"]
    records = (await api.get(f"/v1/usage/records?job={job}")).json["data"]
    assert sum(Decimal(line["cost"]) for line in records) == Decimal(group["cost"])
    receipt = (await api.get(f"/v1/jobs/{job}/receipt")).json
    assert receipt["usage"]["cost"] == group["cost"]
    assert receipt["held"] == "0.00000007"
    assert [call["state"] for call in receipt["calls"]] == ["settled", "settled", "held"]
    shown = (await api.get(f"/v1/jobs/{job}")).json
    assert shown["usage"] == receipt["usage"]
    assert shown["provenance"]["prompts"] == ["draft@1"]
    assert (shown["provenance"]["tools"], shown["provenance"]["policy"]) == ([], None)
    (step,) = (await api.get(f"/v1/jobs/{job}/steps")).json["data"]
    assert (step["usage"]["cost"], step["seconds"], step["model"]) == (
        group["cost"], 1.5, "fake/fake-1",
    )  # fmt: skip
    (budget,) = (await api.get("/v1/budgets")).json["data"]
    assert (budget["spent"], budget["held"]) == (group["cost"], receipt["held"])
    assert Decimal(budget["free"]) == 10 - Decimal(budget["spent"]) - Decimal(budget["held"])


async def test_csv_has_the_columns_of_the_report(api: Client, place: Place) -> None:
    reply = await api.get("/v1/usage?group_by=day&group_by=workflow&format=csv")
    assert reply.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in reply.headers["Content-Disposition"]
    (row,) = csv.DictReader(io.StringIO(reply.body.decode("utf-8-sig")))
    assert (row["workflow"], row["calls"], row["cost_usd"]) == ("noop", "2", "0.000000579")
    by_day = (await api.get("/v1/usage")).json
    assert [one["day"] for one in by_day["data"]] == [row["day"]]


async def test_by_tag_the_total_counts_each_call_once(
    api: Client, place: Place, admin: psycopg.Connection
) -> None:
    admin.execute(
        "WITH one AS (SELECT (jsonb_populate_record(l, jsonb_build_object("
        "   'id', uuidv7(), 'call', uuidv7(), 'cost_nanousd', 1000, 'tags', ARRAY['=a', 'b']))).*"
        "   FROM usage_line l LIMIT 1),"
        " made AS (INSERT INTO usage_line SELECT * FROM one RETURNING id)"
        " INSERT INTO usage_pending SELECT id FROM made"
    )
    report = (await api.get("/v1/usage?group_by=tag,key")).json
    assert {row["tag"]: row["cost"] for row in report["data"]} == {
        "": "0.000000579", "=a": "0.000001", "b": "0.000001",
    }  # fmt: skip
    assert (report["total"]["calls"], report["total"]["cost"]) == (3, "0.000001579")
    reply = await api.get("/v1/usage?group_by=tag&format=csv")
    rows = csv.DictReader(io.StringIO(reply.body.decode("utf-8-sig")))
    assert [(row["tag"], row["cost_usd"]) for row in rows][1] == ("'=a", "0.000001")


async def test_a_report_is_cut_by_days_and_refused_where_it_is_none(
    api: Client, place: Place, subtests: pytest.Subtests
) -> None:
    past = (await api.get("/v1/usage?since=2020-01-01&until=2020-02-01")).json
    assert (past["data"], past["total"]["calls"]) == ([], 0)
    assert past["since"] == "2020-01-01T00:00:00.000000Z"
    for query, pointer in (
        ("group_by=colour", "/group_by"), ("since=2020-02-01&until=2020-01-01", "/until"),
        ("time_zone=Mars", "/time_zone"), ("since=yesterday", "/since"), ("format=pdf", "/format"),
    ):  # fmt: skip
        with subtests.test(query):
            reply = await api.get(f"/v1/usage?{query}")
            assert (reply.status, reply.json["errors"][0]["pointer"]) == (422, pointer)


async def test_lines_are_paged(api: Client, place: Place) -> None:
    first = (await api.get("/v1/usage/records?limit=1")).json
    rest = (await api.get(f"/v1/usage/records?limit=5&cursor={first['next_cursor']}")).json
    lines = [*first["data"], *rest["data"]]
    assert [line["cost"] for line in lines] == ["0.000000456", "0.000000123"]
    assert rest["next_cursor"] is None
    assert (await api.get("/v1/usage/records?model=other")).json["data"] == []
