"""The queue as a whole, in virtual time with thousands of tenants: what docs/handbook/fairness.md promises."""

import random
from collections import Counter

from app.core.ids import TenantId
from tests.scheduling.queues import SHARES, make_tenant
from tests.scheduling.simulation import HEAD_START_SECONDS, TICK, Job, World, percentile

SEED = 20261125


def small_work(random_: random.Random, tenants: list[TenantId], seconds: float) -> list[Job]:
    """Each tenant asks for a job a minute, which takes a second or two."""
    return [
        Job(random_.uniform(0, seconds), tenant, seconds=random_.uniform(0.5, 2), cost=random_.uniform(5, 20))
        for tenant in tenants
        for _ in range(int(seconds / 60))
    ]  # fmt: skip


def test_a_noisy_tenant_slows_only_itself() -> None:
    """2,000 tenants at half of what 100 slots can do; then one of them queues five thousand jobs at once."""
    random_ = random.Random(SEED)  # noqa: S311 - the same run every time, no secret
    tenants = [make_tenant() for _ in range(2_000)]
    work = small_work(random_, tenants, 120)
    noisy = tenants[0]
    storm = [Job(30, noisy, seconds=random_.uniform(0.5, 2)) for _ in range(5_000)]
    others = [job for job in work if job.tenant != noisy]
    calm, stormy = World(slots=100), World(slots=100)
    calm.run(work, 121)
    stormy.run(work + storm, 121)
    assert percentile(calm.waits(others), 0.95) <= TICK
    during = [job for job in others if job.arrives >= 30]
    assert percentile(stormy.waits(during), 0.95) <= 1.0
    assert max(stormy.waits(others)) <= 2.0  # the longest job that it may have to see the end of
    assert percentile(stormy.waits(storm), 0.5) > 20
    # Work conserving: while the storm waits every slot but the reserve is used.
    assert all(sum(used.values()) >= 90 - 1 for now, used in stormy.used if 30 < now < 115)


def test_tenants_under_overload_are_served_by_weight_whatever_their_jobs_are_like() -> None:
    random_ = random.Random(SEED)  # noqa: S311 - the same run every time, no secret
    tenants = [make_tenant() for _ in range(60)]
    weights = {tenant: 1 + place % 3 for place, tenant in enumerate(tenants)}
    jobs = []
    for place, tenant in enumerate(tenants):
        cost, seconds = random_.choice([(1.0, 0.5), (10.0, 1.0), (100.0, 8.0)])
        count = int(8_000 / cost) if cost > 1 else 4_000
        jobs += [Job(place / 100, tenant, cost=cost, seconds=seconds) for _ in range(count)]
    world = World(slots=120, weights=weights, caps=dict.fromkeys(tenants, 50))
    world.run(jobs, 60)
    given = Counter[TenantId]()
    for job in world.order:
        given[job.tenant] += job.cost  # type: ignore[assignment] # costs are whole here
    waiting = {tenant for _, tenant in world.queues}
    shares = [given[tenant] / weights[tenant] for tenant in waiting]
    assert len(waiting) > 50
    assert max(shares) - min(shares) <= 200  # the dearest job of each of two


def test_urgent_jobs_overtake_and_no_job_is_overtaken_by_what_comes_later_than_the_head_start() -> (
    None
):
    """Half again as much as can be done, for a quarter of an hour: order is by rank, and nothing starves."""
    random_ = random.Random(SEED)  # noqa: S311 - the same run every time, no secret
    tenants = [make_tenant() for _ in range(40)]
    jobs = [
        Job(
            random_.uniform(0, 900), random_.choice(tenants), priority=random_.choice([0, 4, 4, 4, 9]),
            seconds=random_.uniform(0.5, 1.5),
        )
        for _ in range(27_000)
    ]  # fmt: skip
    world = World(slots=22)
    world.run(jobs, 1_800)
    assert len(world.starts) == len(jobs)  # all of them began
    typical = {
        priority: percentile(world.waits([job for job in jobs if job.priority == priority]), 0.5)
        for priority in (0, 4, 9)
    }
    assert typical[9] < 5 < typical[4] < typical[0]
    lines: dict[TenantId, list[Job]] = {}
    for job in world.order:
        lines.setdefault(job.tenant, []).append(job)
    for line in lines.values():
        for place, job in enumerate(line):
            began = world.starts[job.id]
            for later in line[place + 1 :]:  # whoever began later ranks behind, or wasn't there
                assert job.rank <= later.rank or later.arrives > began - TICK
                head_start = (job.priority - later.priority) * HEAD_START_SECONDS
                assert job.arrives - later.arrives <= max(0, head_start) + TICK


def test_lanes_lend_what_they_do_not_need_and_get_it_back() -> None:
    """Batch and standard fill what they may; at 60 s people come back, and have half of the slots soon after."""
    random_ = random.Random(SEED)  # noqa: S311 - the same run every time, no secret
    tenants = [make_tenant() for _ in range(200)]

    def flood(lane: str, begin: float, count: int) -> list[Job]:
        return [
            Job(begin + random_.uniform(0, 1), random_.choice(tenants), lane, seconds=random_.uniform(2, 6))
            for _ in range(count)
        ]  # fmt: skip

    world = World(slots=200)
    world.run(
        flood("batch", 0, 8_000) + flood("standard", 0, 8_000) + flood("interactive", 60, 8_000),
        120,
    )
    before = [used for now, used in world.used if 5 <= now < 60]
    assert all(used.get("interactive", 0) == 0 for used in before)
    assert all(177 <= sum(used.values()) <= 180 for used in before)  # a tenth is never lent
    assert all(abs(used["standard"] - 108) <= 3 for used in before)  # and the rest is shared 3 to 2
    at_once = next(used for now, used in world.used if now >= 61)
    assert at_once["interactive"] >= 20  # the reserve
    back = [used for now, used in world.used if now >= 61 + 6]  # the longest job that borrowed
    assert all(used == {lane: part * 20 for lane, part in SHARES.items()} for used in back[1:])


def test_a_long_job_under_way_does_not_starve_its_tenants_next_one() -> None:
    """Two slots for the lane of thousands of short jobs of others, and one tenant with jobs of five minutes."""
    slow = make_tenant()
    quick = [make_tenant() for _ in range(5)]
    jobs = [Job(n / 20, quick[n % 5], seconds=0.25, cost=10) for n in range(12_000)]
    long = [Job(1, slow, seconds=300, cost=12_000) for _ in range(3)]
    world = World(slots=10)
    world.run(jobs + long, 590)
    assert max(world.waits(long[:2])) < 300  # the second began while the first was under way
