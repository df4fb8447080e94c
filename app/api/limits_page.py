"""The limits in force for the caller's tenant, with what is left of them."""

import math
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from app.api.routing import AnyCaller, OnPlatform, Route
from app.api.wire import Label, Money, answer
from app.core import money
from app.intake.backlog import NOTHING, Level
from app.jobs.states import LANES
from app.ratelimit import charging
from app.tenants.limits import Ceiling
from app.views import limits as views
from app.views.limits import RateView

router: Final = APIRouter(route_class=Route, tags=["keys"])

_EXAMPLE: Final[dict[str, Any]] = {
    "object": "limits",
    "plan": "small",
    "rates": [
        {
            "name": "tenant-requests", "of": "tenant", "unit": "requests", "route": None,
            "per_minute": 600, "burst": 100, "remaining": 97, "reset_seconds": 1,
        }
    ],
    "queues": [
        {
            "lane": "batch", "jobs": 12, "max_jobs": 1000, "cost": "0.0012", "max_cost": None,
            "oldest_seconds": 4, "max_age_seconds": None,
        }
    ],
    "running": 3,
    "max_running": 100,
}  # fmt: skip


class RateBody(BaseModel):
    """A rate of requests or tokens."""

    name: str
    of: Literal["tenant", "key", "end_user"] = Field(description="What has a count of its own.")
    unit: Literal["requests", "tokens"]
    route: str | None = Field(description="The only route that it holds for.")
    per_minute: int
    burst: int = Field(description="How many may come at once.")
    remaining: int | None = Field(
        description="How many may come now; null for a count of end users where none was named."
    )
    reset_seconds: int | None = Field(description="After how many seconds it is full again.")

    @classmethod
    def of_view(cls, view: RateView) -> "RateBody":
        """A rate as it was looked at."""
        rate, left = view.rate, view.standing
        return cls.model_validate(
            {
                "name": rate.name, "of": rate.of, "unit": rate.unit, "route": rate.route,
                "per_minute": rate.per_minute, "burst": rate.burst,
                "remaining": None if left is None else left.remaining,
                "reset_seconds": None if left is None else math.ceil(left.reset_seconds),
            }
        )  # fmt: skip


class QueueBody(BaseModel):
    """How much waits in a lane, a few seconds old, and how much may. Null: as much as comes."""

    lane: str
    jobs: int
    max_jobs: int | None
    cost: Money = Field(description="Predicted cost of what waits.")
    max_cost: Money | None
    oldest_seconds: int
    max_age_seconds: int | None

    @classmethod
    def of(cls, lane: str, level: Level, ceiling: Ceiling) -> "QueueBody":
        """A lane as it was last counted."""
        dearest = ceiling.cost_nanousd
        return cls(
            lane=lane, jobs=level.jobs, max_jobs=ceiling.jobs, cost=money.to_wire(level.cost_nanousd),
            max_cost=None if dearest is None else money.to_wire(dearest),
            oldest_seconds=int(level.age_seconds), max_age_seconds=ceiling.age_seconds,
        )  # fmt: skip


class LimitsBody(BaseModel):
    """All limits of a tenant."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    object: Literal["limits"] = "limits"
    plan: str | None
    rates: list[RateBody]
    queues: list[QueueBody]
    running: int = Field(description="Jobs that have a worker's slot.")
    max_running: int


@router.get("/v1/limits", response_model=LimitsBody)
async def get_limits(
    caller: AnyCaller,
    platform: OnPlatform,
    end_user: Annotated[Label | None, Query(description="Whose counts to show.")] = None,
) -> Response:
    """Show the limits in force, with what is left of them."""
    asked = charging.Request(caller.tenant, caller.key, "GET /v1/limits", end_user)
    rates = await views.rates(platform.limiter, caller.limits, asked)
    async with platform.db.transaction() as session:
        found = await views.in_force(session, caller.tenant)
    ceilings = caller.limits.ceilings or {}
    body = LimitsBody(
        plan=found.plan, rates=[RateBody.of_view(view) for view in rates],
        queues=[
            QueueBody.of(lane, found.levels.get(lane, NOTHING), ceilings.get(lane, Ceiling()))
            for lane in LANES
        ],
        running=found.running, max_running=found.max_running,
    )  # fmt: skip
    return answer(body)
