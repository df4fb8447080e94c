"""Fairness, pure: free slots are shared one by one, each to whoever has had the least for its weight.

What a tenant has had is the predicted cost of what it runs now and of what was released to it lately,
decayed; it is read from rows before each pass, so a restart forgets nothing. A tenant that comes back
from idleness starts level with the least served one that is active: idle time earns no credit.
Source: start-time fair queueing (Goyal, Vin, Cheng, 1996), whose virtual time is the least active start.
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from app.core.ids import TenantId


@dataclass(frozen=True, slots=True)
class Load:
    """A tenant's part in one lane, as the rows tell it."""

    tenant: TenantId
    waiting: int  # queued in this lane, counted up to the slots that could be given
    running: int  # dispatched or running, over all lanes
    cap: int  # most that may be
    weight: int
    had_nanousd: float  # predicted cost running now and lately released, decayed
    next_nanousd: int  # predicted cost of its next job here
    head: datetime  # rank of its next job here


def share(free: int, loads: Sequence[Load]) -> dict[TenantId, int]:
    """How many jobs of each tenant to release now. Never past a cap, and no slot idle while any may run.

    Ties go to the job that ranks first.
    """
    active = [load.had_nanousd / load.weight for load in loads if load.running]
    floor = min(active, default=0.0)
    heap = [
        (max(load.had_nanousd / load.weight, floor if not load.running else 0.0), load.head, place)
        for place, load in enumerate(loads)
        if load.waiting and load.running < load.cap
    ]
    heapq.heapify(heap)
    given: dict[TenantId, int] = {}
    while free > 0 and heap:
        had, head, place = heapq.heappop(heap)
        load = loads[place]
        count = given[load.tenant] = given.get(load.tenant, 0) + 1
        free -= 1
        if count < load.waiting and load.running + count < load.cap:
            heapq.heappush(heap, (had + load.next_nanousd / load.weight, head, place))
    return given


def lanes(
    free: int,
    free_in: Mapping[str, int],
    waiting: Mapping[str, int],
    running: Mapping[str, int],
    shares: Mapping[str, int],
) -> dict[str, int]:
    """Slots for each lane: in proportion to the shares where all are busy; an idle lane's serve the others.

    `free` bounds the sum, `free_in` what workers that serve the lane can take.
    """
    room = {lane: min(free_in.get(lane, 0), waiting.get(lane, 0)) for lane in shares}
    heap = [
        (running.get(lane, 0) / part, -part, lane) for lane, part in shares.items() if room[lane]
    ]
    heapq.heapify(heap)
    given: dict[str, int] = {}
    while free > 0 and heap:
        level, negative, lane = heapq.heappop(heap)
        given[lane] = given.get(lane, 0) + 1
        free -= 1
        if given[lane] < room[lane]:
            heapq.heappush(heap, (level + 1 / shares[lane], negative, lane))
    return given
