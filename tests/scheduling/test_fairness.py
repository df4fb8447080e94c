"""Fairness: what holds for every queue, and the plain cases that a person would name."""

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.audit.trail import PLATFORM
from app.core import ids
from app.core.ids import JobId
from app.jobs.caps import EVERYTHING, Cap
from app.scheduling import fairness
from app.scheduling.fairness import Lane, Line, Plan, Pool, Waiting
from tests.scheduling.queues import (
    SHARES,
    after,
    at,
    jobs,
    line,
    make_tenant,
    one_lane,
    share,
)

TENANTS = [make_tenant() for _ in range(5)]
SHARED: list[Cap] = [(PLATFORM, "resource", "crm"), (PLATFORM, "workflow", "answer"), EVERYTHING]

waiting = st.lists(
    st.builds(
        Waiting,
        job=st.builds(lambda: JobId(ids.new())),
        rank=st.integers(0, 100).map(at),
        cost=st.integers(1, 1_000).map(float),
    ),
    min_size=1,
    max_size=12,
).map(lambda found: sorted(found, key=lambda job: (job.rank, job.job)))


@st.composite
def queues(draw: st.DrawFn) -> list[Line]:
    """Lines of five tenants in three lanes, under caps that some share; a tenant has one weight and one cap."""
    facts = [
        (tenant, draw(st.integers(1, 5)), draw(st.integers(1, 15)), draw(st.floats(0, 10_000)))
        for tenant in TENANTS
    ]
    places = [(one, lane, group) for one in facts for lane in SHARES for group in range(2)]
    chosen = draw(st.lists(st.sampled_from(places), unique=True, max_size=14))
    return [
        line(
            draw(waiting), lane=lane, tenant=tenant, group=group, weight=weight, most=most, had=had,
            caps={cap: draw(st.integers(0, 6)) for cap in draw(st.sets(st.sampled_from(SHARED)))},
        )
        for (tenant, weight, most, had), lane, group in chosen
    ]  # fmt: skip


lanes = st.fixed_dictionaries(
    {
        name: st.builds(
            Lane,
            share=st.just(part),
            level=st.floats(0, 5_000),
            running=st.integers(0, 30),
            own=st.integers(1, 20),
            free=st.integers(0, 40),
            reserve=st.integers(0, 5),
        )
        for name, part in SHARES.items()
    }
)
caps_in_use = st.dictionaries(
    st.sampled_from([*SHARED, *((tenant, "all", "") for tenant in TENANTS)]), st.integers(0, 8)
)


def has_room(of: Line, counts: Mapping[Cap, int]) -> bool:
    return all(counts.get(cap, 0) < most for cap, most in of.most.items())


def lane_has_room(slots: int, lane: Lane, given_slots: int) -> bool:
    free = min(slots, lane.free - given_slots)
    return free > (lane.reserve if lane.running + given_slots >= lane.own else 0)


@given(st.integers(0, 60), st.integers(1, 60), lanes, queues(), caps_in_use)
def test_no_slot_idles_while_a_job_may_run_and_no_cap_is_passed(
    slots: int, batch: int, given_lanes: dict[str, Lane], lines: list[Line], running: dict[Cap, int]
) -> None:
    made = fairness.plan(slots, batch, given_lanes, lines, running)
    counts = Counter(running)
    for one, _ in made.picks:
        assert has_room(one, counts)  # at the moment it is picked; a cap is each job's own
        counts.update(one.counted)
    given_slots = Counter(one.lane for one, _ in made.picks)
    for name, lane in given_lanes.items():
        assert given_slots[name] <= lane.free
        if given_slots[name] and lane.running + given_slots[name] > lane.own:
            assert lane.free - given_slots[name] >= lane.reserve
    if len(made.picks) in (slots, batch):
        return
    for one in after(lines, made):
        left = slots - len(made.picks)
        idle = one.jobs and lane_has_room(left, given_lanes[one.lane], given_slots[one.lane])
        assert not (idle and has_room(one, counts))


@given(st.integers(1, 60), lanes, queues(), caps_in_use)
def test_each_slot_goes_to_whoever_of_its_lane_had_least_and_there_to_the_first_by_rank(
    slots: int, given_lanes: dict[str, Lane], lines: list[Line], running: dict[Cap, int]
) -> None:
    """Replays the plan pick by pick, against the whole queue as it stood then."""
    made = fairness.plan(slots, slots, given_lanes, lines, running)
    counts = Counter(running)
    left, had = {id(one): list(one.jobs) for one in lines}, dict[tuple[str, object], float]()

    def level(one: Line) -> float:
        own = had.get((one.lane, one.tenant), one.had)
        return max(own / one.weight, given_lanes[one.lane].level)

    for picked, job in made.picks:
        rivals = [
            one for one in lines
            if one.lane == picked.lane and left[id(one)] and has_room(one, counts)
        ]  # fmt: skip
        assert math.isclose(level(picked), min(map(level, rivals)), rel_tol=1e-9)
        mine = [one for one in rivals if one.tenant == picked.tenant]
        assert job == min(
            (left[id(one)][0] for one in mine), key=lambda first: (first.rank, first.job)
        )
        left[id(picked)].pop(0)
        counts.update(picked.counted)
        had[picked.lane, picked.tenant] = level(picked) * picked.weight + job.cost
    for place, cost in had.items():
        assert math.isclose(made.had[place], cost, rel_tol=1e-9)  # type: ignore[index] # (str, TenantId)


@given(st.integers(1, 40), lanes, queues(), caps_in_use, st.integers(1, 3))
def test_the_heads_of_the_queue_are_enough_to_know_or_to_ask(
    slots: int,
    given_lanes: dict[str, Lane],
    lines: list[Line],
    running: dict[Cap, int],
    depth: int,
) -> None:
    """A plan from the first jobs of each line, with more where it asks for more, is the plan from all of them."""
    seen = [replace(one, jobs=one.jobs[:depth], cut=len(one.jobs) > depth) for one in lines]
    made = fairness.plan(slots, slots, given_lanes, seen, running)
    whole = fairness.plan(slots, slots, given_lanes, lines, running)
    while made.short:
        assert made.picks == [
            (seen[lines.index(one)], job) for one, job in whole.picks[: len(made.picks)]
        ]
        for place in made.short:
            shown = lines[place].jobs[: len(seen[place].jobs) + 1]
            seen[place] = replace(seen[place], jobs=shown, cut=len(shown) < len(lines[place].jobs))
        made = fairness.plan(slots, slots, given_lanes, seen, running)
    assert [job for _, job in made.picks] == [job for _, job in whole.picks]


@given(
    st.lists(st.tuples(st.integers(1, 500), st.integers(1, 5)), min_size=2, max_size=6),
    st.lists(st.tuples(st.integers(1, 7), st.floats(0.5, 1)), min_size=1, max_size=12),
)
def test_busy_tenants_never_differ_by_more_than_a_job_of_each(
    facts: list[tuple[int, int]], passes: list[tuple[int, float]]
) -> None:
    """Bounded unfairness, over any number of passes, whatever has decayed between them."""
    lines = [line(100, cost=cost, weight=weight) for cost, weight in facts]
    level = 0.0
    for free, decay in passes:
        made = fairness.plan(free, free, one_lane(free, level=level), lines, {})
        lines, level = after(lines, made), made.levels["standard"]
        for one in lines:
            for other in lines:
                apart = abs(one.had / one.weight - other.had / other.weight)
                dearest = max(job.jobs[0].cost / job.weight for job in (one, other))
                assert apart <= dearest + 1e-6
        lines = [replace(one, had=one.had * decay) for one in lines]
        level *= decay


@given(
    st.lists(st.integers(1, 500), min_size=1, max_size=6),
    st.lists(st.integers(1, 4), min_size=1, max_size=6),
    st.integers(1, 5),
    st.floats(0, 5_000),
)
def test_a_tenants_wait_is_bounded_by_its_own_work_and_a_job_of_each_other(
    others: list[int], mine: list[int], free: int, level: float
) -> None:
    """Before a job is released, every other tenant was given at most what its own tenant's jobs ahead of it
    cost, by weight, and one job more: the bound of docs/handbook/fairness.md.
    """
    me = line([Waiting(JobId(ids.new()), at(n), cost) for n, cost in enumerate(mine)], had=0)
    rivals = [line(3_000 // cost + 10, cost=cost, had=level, head=-1) for cost in others]
    lines, ahead = [me, *rivals], 0.0
    given_cost = dict.fromkeys([rival.tenant for rival in rivals], 0.0)
    while lines[0].jobs:
        made = fairness.plan(free, free, one_lane(free, level=level), lines, {})
        for one, job in made.picks:
            if one.tenant == me.tenant:
                for rival in rivals:
                    assert given_cost[rival.tenant] <= ahead + rival.jobs[0].cost + 1e-6
                ahead += job.cost
            else:
                given_cost[one.tenant] += job.cost
        lines, level = after(lines, made), made.levels["standard"]


def test_the_tenant_that_had_least_is_served_first() -> None:
    heavy, light = line(100, had=900), line(1, had=4)
    made = fairness.plan(3, 3, one_lane(3), [heavy, light], {})
    assert [one.tenant for one, _ in made.picks] == [light.tenant, heavy.tenant, heavy.tenant]


def test_weights_share_in_proportion() -> None:
    one, three = line(100, weight=1), line(100, weight=3)
    assert share(40, [one, three]) == {one.tenant: 10, three.tenant: 30}


def test_dear_jobs_count_for_more() -> None:
    dear, cheap = line(100, cost=30), line(100, cost=10)
    assert share(40, [dear, cheap]) == {dear.tenant: 10, cheap.tenant: 30}


def test_idle_time_earns_no_credit_in_any_later_pass() -> None:
    """Who comes back starts level with whom the lane serves, and stays level from then on."""
    lines, level = [line(400, had=1_000), line(400, had=0, head=50)], 1_000.0
    picks: Counter[object] = Counter()
    for _ in range(10):
        made = fairness.plan(4, 4, one_lane(4, level=level), lines, {})
        lines, level = after(lines, made), made.levels["standard"]
        picks.update(one.tenant for one, _ in made.picks)
    assert abs(picks[lines[0].tenant] - picks[lines[1].tenant]) <= 1


def test_time_under_a_full_cap_earns_no_credit() -> None:
    held, busy = line(50, most=1), line(50)
    cap: Cap = (held.tenant, "all", "")
    first = fairness.plan(20, 20, one_lane(20), [held, busy], {cap: 1})
    assert {one.tenant for one, _ in first.picks} == {busy.tenant}
    later = after([replace(held, most={cap: 100}), busy], first)
    made = fairness.plan(10, 10, one_lane(10, level=first.levels["standard"]), later, {})
    assert Counter(one.tenant for one, _ in made.picks)[held.tenant] in (5, 6)


def test_a_latecomer_behind_a_long_queue_starts_at_once() -> None:
    """C018: ten tenants that come after one with ten thousand jobs each start within eleven releases."""
    crowd = line(10_000, had=40, head=0)
    late = [line(1, head=1 + n) for n in range(10)]
    assert set(share(11, [crowd, *late], level=40)) >= {one.tenant for one in late}


def test_a_full_kind_of_work_lets_the_tenants_other_work_pass() -> None:
    tenant = make_tenant()
    crm: Cap = (tenant, "resource", "crm")
    capped = line(1_000, tenant=tenant, caps={crm: 5})
    other = line(10, tenant=tenant, group=1, head=2_000)
    made = fairness.plan(12, 12, one_lane(12), [capped, other], {crm: 2})
    assert Counter(one.group for one, _ in made.picks) == {0: 3, 1: 9}


def test_urgent_jobs_of_a_tenant_go_first_across_its_kinds_of_work() -> None:
    tenant = make_tenant()
    plain = line(jobs(5, head=100), tenant=tenant)
    urgent = line(jobs(2, head=0), tenant=tenant, group=1)
    made = fairness.plan(3, 3, one_lane(3), [plain, urgent], {})
    assert [one.group for one, _ in made.picks] == [1, 1, 0]


def lane(
    name: str, running: int = 0, *, slots: int = 100, free: int, part: float = 0.1
) -> tuple[str, Lane]:
    pools = [Pool(frozenset(SHARES), slots, free)]
    return name, Lane(
        SHARES[name], 0.0, running, fairness.own_slots(pools, SHARES)[name], free,
        fairness.reserves(pools, SHARES, part)[name],
    )  # fmt: skip


def by_lane(made: Plan) -> dict[str, int]:
    return dict(Counter(one.lane for one, _ in made.picks))


def test_busy_lanes_get_their_shares_and_an_idle_lanes_serve_the_others_but_for_the_reserve() -> (
    None
):
    lines = [line(200, lane=name) for name in SHARES]
    idle = dict(lane(name, free=100) for name in SHARES)
    made = fairness.plan(100, 100, idle, lines, {})
    assert by_lane(made) == {"interactive": 50, "standard": 30, "batch": 20}
    made = fairness.plan(100, 100, idle, lines[1:], {})
    assert by_lane(made) == {"standard": 54, "batch": 36}


def test_a_returning_lane_has_the_reserve_and_then_every_slot_that_frees_until_its_share_is_back() -> (
    None
):
    used = {"interactive": 0, "standard": 54, "batch": 36}
    lines = [line(500, lane=name) for name in SHARES]
    free = 10
    while free:
        state = dict(lane(name, used[name], free=free) for name in SHARES)
        made = fairness.plan(free, 100, state, lines, {})
        for name, count in by_lane(made).items():
            used[name] += count
        assert by_lane(made) == {"interactive": free}
        free = min(2, 50 - used["interactive"])  # two jobs of the borrowers end
        used["standard" if used["standard"] > 30 else "batch"] -= free
    assert used == {"interactive": 50, "standard": 30, "batch": 20}


def test_a_lane_without_slots_of_others_lends_all_and_a_small_one_keeps_one() -> None:
    alone = [Pool(frozenset({"batch"}), 50, 50)]
    assert fairness.own_slots(alone, SHARES)["batch"] == 50
    assert fairness.reserves(alone, SHARES, 0.1)["batch"] == 0
    small = [Pool(frozenset(SHARES), 4, 4)]
    assert fairness.reserves(small, SHARES, 0.1) == dict.fromkeys(SHARES, 1)
    assert fairness.reserves(small, SHARES, 0.0) == dict.fromkeys(SHARES, 0)


@given(
    st.lists(
        st.builds(Pool, st.frozensets(st.sampled_from(list(SHARES)), min_size=1), st.integers(1, 400), st.just(0)),
        max_size=4,
    )
)  # fmt: skip
def test_lanes_own_all_slots_between_them(pools: list[Pool]) -> None:
    own = fairness.own_slots(pools, SHARES)
    slots = sum(pool.slots for pool in pools)
    assert slots <= sum(own.values()) <= slots + len(SHARES)
    assert min(own.values()) >= 1


def test_a_lane_takes_no_more_than_its_workers_can() -> None:
    lines = [line(50, lane=name) for name in SHARES]
    free = {"interactive": 2, "standard": 10, "batch": 0}
    state = {name: Lane(SHARES[name], 0.0, 0, count, count, 0) for name, count in free.items()}
    assert by_lane(fairness.plan(12, 100, state, lines, {})) == {"interactive": 2, "standard": 10}
