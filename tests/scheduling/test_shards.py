"""Several dispatchers: tenants shared out by bucket, slots divided, and nobody beyond what there is."""

from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.db import Database
from app.core.ids import TenantId
from app.jobs.transitions import Released
from app.scheduling import dispatch, division, shards
from app.scheduling.config import MAX_SHARDS, SchedulingConfig
from app.scheduling.division import Need
from app.scheduling.errors import NotLeading
from app.scheduling.shards import BUCKETS, Held, Lead
from tests.arrange import make_jobs, make_tenant, make_workflow
from tests.arrange import make_worker as worker

LEASE = timedelta(seconds=5)
CONFIG = SchedulingConfig()
ALONE = ("standard",)


@pytest.fixture
async def hot(db: Database) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await db.connect_hot(settings=dispatch.SETTINGS) as connection:
        yield connection


def make_tenants(admin: psycopg.Connection, buckets: list[int], jobs: int) -> list[TenantId]:
    """Tenants in these buckets, each with so many jobs."""
    made = []
    for n, bucket in enumerate(buckets):
        tenant = make_tenant(admin, f"t{n}-{bucket}", bucket=bucket)
        version = make_workflow(admin, tenant)
        if jobs:
            make_jobs(admin, tenant, version, jobs)
        made.append(tenant)
    return made


async def release(hot: psycopg.AsyncConnection[Any], lead: Lead) -> list[Released]:
    done = await dispatch.release(hot, lead, CONFIG, LEASE)
    return [item for groups in done.released.values() for group in groups for item in group]


async def led(hot: psycopg.AsyncConnection[Any], count: int) -> list[Lead]:
    await shards.lay_out(hot, count, CONFIG)
    return [await dispatch.lead(hot, shard) for shard in range(count)]


def end_all(admin: psycopg.Connection) -> None:
    """Everything that was released is done, and its tenants have only what they have queued."""
    admin.execute(
        "UPDATE attempt SET state = 'ended', ended_at = now(), outcome = 'succeeded' WHERE ended_at IS NULL"
    )
    admin.execute("UPDATE job SET state = 'succeeded', started_at = now(), finished_at = now(), current_attempt = NULL"
                  " WHERE state IN ('dispatched', 'running')")  # fmt: skip


@given(st.integers(1, MAX_SHARDS), st.integers(0, BUCKETS - 1))
def test_every_bucket_is_in_one_shard(count: int, bucket: int) -> None:
    ranges = [Lead(shard, count, 1) for shard in range(count)]
    [mine] = [lead.shard for lead in ranges if lead.low <= bucket <= lead.high]
    assert shards.of_bucket(bucket, count) == mine


@st.composite
def needs(draw: st.DrawFn) -> list[Need]:
    made = []
    for _ in range(draw(st.integers(2, 8))):
        used = draw(st.integers(0, 40))
        weight = draw(st.sampled_from([0.0, 1.0, 3.0, 250.0]))
        made.append(Need(used, weight, draw(st.integers(0, used)) if weight else 0))
    return made


@given(st.integers(0, 100), needs(), st.integers(1, 5), st.floats(0, 0.99))
def test_no_slot_is_granted_twice(slots: int, asked: list[Need], standby: int, turn: float) -> None:
    """Nobody's grant, and nobody's use beyond it, together pass what there is."""
    granted = division.divide(slots, asked, standby, turn)
    taken = sum(max(mine, need.used) for mine, need in zip(granted, asked, strict=True))
    assert taken <= max(slots, sum(need.used for need in asked))


@given(st.integers(1, 100), needs(), st.floats(0, 0.99))
def test_no_slot_stays_free_while_a_shard_could_use_it(
    slots: int, asked: list[Need], turn: float
) -> None:
    """What is free now is granted now, but for what idle shards keep ready."""
    granted = division.divide(slots, asked, 1, turn)
    free = max(0, slots - sum(need.used for need in asked))
    extra = sum(max(0, mine - need.used) for mine, need in zip(granted, asked, strict=True))
    assert extra == free


@given(st.integers(1, 500), st.lists(st.integers(1, 9), min_size=2, max_size=8), st.floats(0, 0.99))
def test_who_waits_shares_the_slots_by_weight(slots: int, weights: list[int], turn: float) -> None:
    granted = division.divide(slots, [Need(0, weight, 0) for weight in weights], 1, turn)
    for mine, weight in zip(granted, weights, strict=True):
        assert abs(mine - slots * weight / sum(weights)) < 1 + 1e-6


def test_who_has_more_than_its_part_gives_back_as_its_jobs_end() -> None:
    used = [20, 0]
    for _ in range(20):
        granted = division.divide(20, [Need(n, 1, n) for n in used], 1)
        # A job ends and each releases what it may.
        used[0] -= used[0] > 10
        used = [
            max(have, may) if have < may else have for have, may in zip(used, granted, strict=True)
        ]
        assert sum(used) <= 20
    assert used == [10, 10]


def test_slots_that_do_not_divide_go_round() -> None:
    """Three shards, one slot: each has it in its turn."""
    asked = [Need(0, 1, 0)] * 3
    turns = [n * division.GOLDEN % 1 for n in range(12)]
    had = Counter(division.divide(1, asked, 1, turn).index(1) for turn in turns)
    assert set(had) == {0, 1, 2}
    assert max(had.values()) - min(had.values()) <= 2


def test_a_lane_in_one_shard_has_there_the_share_that_all_wait_for() -> None:
    held = [
        Held(0, 2, {"interactive": (9, 0), "standard": (1, 0)}, {}),
        Held(1, 2, {"interactive": (1, 0), "standard": (9, 0)}, {}),
    ]
    first, second = division.lane_shares(CONFIG, held)
    assert (first["interactive"], second["interactive"]) == (4500, 500)
    assert (first["standard"], second["standard"]) == (300, 2700)


async def test_each_shard_releases_its_own_tenants_into_its_own_slots(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection
) -> None:
    low, high = make_tenants(admin, [7, 200], 30)
    worker(admin, 20, ALONE)
    first, second = await led(hot, 2)
    assert await release(hot, first) == []  # nothing is granted yet
    assert await release(hot, second) == []
    await division.grant(hot, CONFIG)
    mine, others = await release(hot, first), await release(hot, second)
    assert {item.tenant for item in mine} == {low}
    assert {item.tenant for item in others} == {high}
    assert (len(mine), len(others)) == (10, 10)
    assert await release(hot, first) == await release(hot, second) == []


async def test_what_one_shard_does_not_need_another_has_after_a_division(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection
) -> None:
    make_tenants(admin, [7], 60)
    late = make_tenant(admin, "late", bucket=201)
    worker(admin, 20, ALONE)
    first, second = await led(hot, 2)
    await release(hot, first)
    await division.grant(hot, CONFIG)
    assert len(await release(hot, first)) == 19  # one is kept ready for whoever comes in the other
    make_jobs(admin, late, make_workflow(admin, late), 60)
    assert len(await release(hot, second)) == 1
    await division.grant(hot, CONFIG)
    end_all(admin)
    # The first has more than its part: it releases no more than that, and the other the rest.
    assert len(await release(hot, first)) == 10
    await division.grant(hot, CONFIG)
    assert len(await release(hot, second)) == 10


async def test_workers_that_are_gone_are_not_released_to_on_an_old_grant(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection
) -> None:
    make_tenants(admin, [7, 200], 30)
    gone = worker(admin, 18, ALONE)
    worker(admin, 2, ALONE)
    first, second = await led(hot, 2)
    await division.grant(hot, CONFIG)
    admin.execute("UPDATE worker SET seen_at = now() - interval '1 minute' WHERE id = %s", (gone,))
    assert len(await release(hot, first)) + len(await release(hot, second)) == 2


async def test_another_number_of_shards_stops_every_dispatcher_of_the_old_one(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection
) -> None:
    make_tenants(admin, [7, 200], 5)
    worker(admin, 40, ALONE)
    alone = await dispatch.lead(hot)
    old = await led(hot, 3)
    with pytest.raises(NotLeading):
        await release(hot, alone)
    [back] = await led(hot, 1)
    for lead in old:
        with pytest.raises(NotLeading):
            await release(hot, lead)
    with pytest.raises(NotLeading):
        await dispatch.lead(hot, 1)
    assert len(await release(hot, back)) == 10
    assert not await shards.lay_out(hot, 1, CONFIG)


async def test_tenants_of_shards_that_were_served_unequally_start_level_in_one(
    hot: psycopg.AsyncConnection[Any], admin: psycopg.Connection
) -> None:
    await led(hot, 2)
    admin.execute(
        "UPDATE dispatch_shard SET levels = '{\"standard\": 40}', levels_at = now() WHERE id = 1"
    )
    await led(hot, 1)
    row = admin.execute("SELECT levels->'standard' FROM dispatch_shard WHERE id = 0").fetchone()
    assert row is not None
    assert 39 < row[0] <= 40
