"""Settings of leases."""

from datetime import timedelta

from pydantic import BaseModel


class LeaseConfig(BaseModel, frozen=True, extra="forbid"):
    """How long silence is believed."""

    running: timedelta = timedelta(seconds=6)  # a worker's silence before it counts as dead
    heartbeat: timedelta = timedelta(seconds=1)  # six chances within a lease
    dispatch: timedelta = timedelta(seconds=5)  # a message's way through the broker
    stop_grace: timedelta = timedelta(
        seconds=20
    )  # what a step may still take after a shutdown began
