"""Tokens charged at admission: kept with the job, and given back as far as it didn't use them."""

import asyncio
from dataclasses import replace

import psycopg
import pytest
from psycopg.types.json import Jsonb

from app.core import ids
from app.core.db import Database
from app.core.ids import JobId, TenantId
from app.intake import admission, charges
from app.intake.admission import Asker, Desk, JobSpec
from app.ratelimit import charging
from app.ratelimit.config import RatelimitConfig
from app.ratelimit.limiter import Limiter
from app.tenants import limits
from app.tenants.limits import Limits, Rate
from app.usage import pricing
from tests.arrange import make_workflow
from tests.waiting import until

SAYING = {
    "name": "saying",
    "input": {"type": "object"},
    "steps": [{"id": "say", "kind": "model", "prompt": "draft@1", "max_tokens": 600, "in": {}}],
    "output": "=steps.say",
}
TOKENS = Rate("tenant", "tokens", 1, 10_000)
LIMITS = Limits((TOKENS,))


@pytest.fixture
async def asking(asker: Asker, db: Database, admin: psycopg.Connection, tenant: TenantId) -> Asker:
    """One whose tenant has 10,000 tokens, and a workflow whose jobs are predicted at 1,000."""
    make_workflow(admin, tenant, SAYING)
    held = limits.with_rate({}, TOKENS)
    admin.execute("UPDATE tenant SET limits = %s WHERE id = %s", (Jsonb(held), tenant))
    async with db.transaction() as session:
        await pricing.seed(session)
    return replace(asker, limits=LIMITS)


def end(admin: psycopg.Connection, *jobs: JobId) -> None:
    for job in jobs:
        admin.execute(
            "UPDATE job SET state = 'failed', finished_at = app_now() WHERE id = %s", (job,)
        )
    admin.execute("SELECT pg_notify('jobs_ended', %s)", (",".join(map(str, jobs)),))


async def left(limiter: Limiter, tenant: TenantId) -> int:
    asked = charging.Request(tenant, None, admission.ROUTE, None, 1)
    verdict = await limiter.look(charging.draws(LIMITS, asked))
    return verdict.standings[0].remaining


async def test_the_charge_is_stored_with_the_job_and_only_where_a_limit_counts_it(
    desk: Desk, asking: Asker, admin: psycopg.Connection
) -> None:
    made = await admission.admit(desk, asking, JobSpec("saying", {}), key=None)
    await admission.admit(desk, replace(asking, limits=limits.NONE), JobSpec("saying", {}), key="k")
    await admission.admit(desk, asking, JobSpec("noop", {}), key=None)
    found = admin.execute("SELECT job, tokens FROM token_charge").fetchall()
    assert found == [(made.job, 1_000)]


async def test_what_a_job_did_not_use_goes_back_when_it_is_over(
    desk: Desk, asking: Asker, admin: psycopg.Connection, db: Database, cache_url: str
) -> None:
    limiter = Limiter(cache_url, RatelimitConfig.model_validate({"timeout": "PT5S"}))
    shared = replace(desk, limiter=limiter)
    one, other, open_one = [
        (await admission.admit(shared, asking, JobSpec("saying", {}), key=None)).job
        for _ in range(3)
    ]
    assert await left(limiter, asking.tenant) == 7_000
    _use(admin, asking.tenant, other, input_tokens=150, output_tokens=250)
    following = asyncio.create_task(charges.follow(db, limiter))

    async def listening() -> bool:
        row = admin.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE query ILIKE '%LISTEN jobs_ended%'"
        ).fetchone()
        return row is not None and row[0] > 0

    await until(listening)
    end(admin, one, other)

    async def back() -> bool:
        return await left(limiter, asking.tenant) == 8_600

    await until(back)
    assert admin.execute("SELECT job FROM token_charge").fetchall() == [(open_one,)]
    following.cancel()
    await asyncio.gather(following, return_exceptions=True)
    await limiter.close()


async def test_what_nobody_told_of_is_found_by_looking(
    desk: Desk, asking: Asker, admin: psycopg.Connection, db: Database
) -> None:
    made = await admission.admit(desk, asking, JobSpec("saying", {}), key=None)
    still = await admission.admit(desk, asking, JobSpec("saying", {}), key=None)
    end(admin, made.job)
    async with await db.connect_hot() as connection:
        assert await charges.settle(connection, desk.limiter, None) == 1
        assert await charges.settle(connection, desk.limiter, [made.job, still.job]) == 0


def _use(
    admin: psycopg.Connection,
    tenant: TenantId,
    job: JobId,
    *,
    input_tokens: int,
    output_tokens: int,
) -> None:
    admin.execute(
        "INSERT INTO usage_line (id, tenant, call, kind, at, job, attempt, step, workflow,"
        " workflow_version, lane, tags, provider, model, price, input_tokens, cached_tokens,"
        " cache_write_tokens, output_tokens, reasoning_tokens, cost_nanousd, unconfirmed, estimated, latency_ms)"
        " SELECT %s, %s, %s, 'charge', app_now(), %s, %s, 'say', 'saying', 1, 'standard', '{}',"
        " provider, model, id, %s, 0, 0, %s, 0, 1, false, false, 1 FROM price LIMIT 1",
        (ids.new(), tenant, ids.new(), job, ids.new(), input_tokens, output_tokens),
    )
