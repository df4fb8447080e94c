"""Fairness: what holds for every queue, and the plain cases that a person would name."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.core import ids
from app.core.ids import TenantId
from app.scheduling import fairness
from app.scheduling.fairness import Load

START = datetime(2026, 1, 1, tzinfo=UTC)
LANES = {"interactive": 5, "standard": 3, "batch": 2}


def load(
    waiting: int,
    *,
    running: int = 0,
    cap: int = 100,
    weight: int = 1,
    had: float = 0,
    cost: int = 10,
    head: int = 0,
) -> Load:
    """A tenant with a fresh id; `head` in seconds."""
    return Load(
        TenantId(ids.new()),
        waiting,
        running,
        cap,
        weight,
        had,
        cost,
        START + timedelta(seconds=head),
    )


loads = st.lists(
    st.builds(
        load,
        waiting=st.integers(0, 20),
        running=st.integers(0, 12),
        cap=st.integers(1, 15),
        weight=st.integers(1, 5),
        had=st.floats(0, 10_000),
        cost=st.integers(1, 1_000),
        head=st.integers(0, 100),
    ),
    max_size=12,
)


@given(st.integers(0, 60), loads)
def test_no_slot_idles_while_a_job_may_run_and_no_cap_is_passed(
    free: int, given_loads: list[Load]
) -> None:
    picks = fairness.share(free, given_loads)
    able = sum(max(0, min(it.waiting, it.cap - it.running)) for it in given_loads)
    assert sum(picks.values()) == min(free, able)
    for it in given_loads:
        count = picks.get(it.tenant, 0)
        assert count <= it.waiting
        assert count == 0 or it.running + count <= it.cap


@given(st.integers(1, 60), loads)
def test_no_one_is_served_while_someone_who_had_less_waits(
    free: int, given_loads: list[Load]
) -> None:
    """Bounded unfairness: ends differ by no more than one job's cost from whoever still waits."""
    picks = fairness.share(free, given_loads)
    floor = min((it.had_nanousd / it.weight for it in given_loads if it.running), default=0.0)

    def level(it: Load, jobs: int) -> float:
        start = max(it.had_nanousd / it.weight, floor if not it.running else 0.0)
        return start + jobs * it.next_nanousd / it.weight

    hungry = [
        level(it, picks.get(it.tenant, 0))
        for it in given_loads
        if picks.get(it.tenant, 0) < min(it.waiting, it.cap - it.running)
    ]
    for it in given_loads:
        count = picks.get(it.tenant, 0)
        if count and hungry:
            assert level(it, count - 1) <= min(hungry) + 1e-6


def test_the_tenant_that_had_least_is_served_first() -> None:
    heavy, light = load(100, running=9, had=900), load(1, running=1, had=4)
    assert fairness.share(3, [heavy, light]) == {light.tenant: 1, heavy.tenant: 2}


def test_weights_share_in_proportion() -> None:
    one, three = load(100, weight=1), load(100, weight=3)
    picks = fairness.share(40, [one, three])
    assert (picks[one.tenant], picks[three.tenant]) == (10, 30)


def test_dear_jobs_count_for_more() -> None:
    dear, cheap = load(100, cost=30), load(100, cost=10)
    picks = fairness.share(40, [dear, cheap])
    assert (picks[dear.tenant], picks[cheap.tenant]) == (10, 30)


def test_idle_time_earns_no_credit() -> None:
    busy, back = load(100, running=5, had=1_000), load(100, had=0)
    picks = fairness.share(10, [busy, back])
    assert abs(picks[busy.tenant] - picks[back.tenant]) <= 1


def test_a_latecomer_behind_a_long_queue_starts_at_once() -> None:
    """C018: ten tenants that come after one with ten thousand jobs each start within eleven releases."""
    crowd = load(10_000, running=4, had=40, head=0)
    late = [load(1, head=1 + n) for n in range(10)]
    assert set(fairness.share(11, [crowd, *late])) >= {it.tenant for it in late}


@given(
    st.integers(0, 50),
    st.fixed_dictionaries({lane: st.integers(0, 30) for lane in LANES}),
    st.fixed_dictionaries({lane: st.integers(0, 30) for lane in LANES}),
)
def test_lanes_conserve_work(free: int, waiting: dict[str, int], running: dict[str, int]) -> None:
    given_slots = fairness.lanes(free, dict.fromkeys(LANES, free), waiting, running, LANES)
    assert sum(given_slots.values()) == min(
        free, sum(min(free, count) for count in waiting.values())
    )
    assert all(given_slots.get(lane, 0) <= waiting[lane] for lane in LANES)


def test_busy_lanes_get_their_shares_and_an_idle_lanes_serve_the_others() -> None:
    full = dict.fromkeys(LANES, 100)
    assert fairness.lanes(100, full, full, {}, LANES) == {
        "interactive": 50,
        "standard": 30,
        "batch": 20,
    }
    without = full | {"interactive": 0}
    assert fairness.lanes(100, full, without, {}, LANES) == {"standard": 60, "batch": 40}


def test_a_lane_takes_no_more_than_its_workers_can() -> None:
    free_in = {"interactive": 2, "standard": 10, "batch": 0}
    waiting = dict.fromkeys(LANES, 50)
    assert fairness.lanes(12, free_in, waiting, {}, LANES) == {"interactive": 2, "standard": 10}
