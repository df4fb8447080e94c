"""Settings of schedules."""

from datetime import timedelta

from pydantic import BaseModel, PositiveInt


class SchedulesConfig(BaseModel, frozen=True, extra="forbid"):
    """How many schedules there may be, and how often they may fire."""

    per_tenant: PositiveInt = 100  # schedules; each may hold a hundred runs
    min_period: timedelta = timedelta(minutes=1)  # between two times of one schedule
    late: timedelta = timedelta(minutes=1)  # a time this long ago was missed
