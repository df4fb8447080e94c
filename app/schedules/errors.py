"""What the schedules room refuses."""

from app.core.errors import TowpathError


class ScheduleExists(TowpathError):
    """The tenant has a schedule of this name. Context: schedule."""

    code = "schedule_exists"
