"""Settings of the limiter."""

from datetime import timedelta

from pydantic import BaseModel, NonNegativeInt, PositiveInt


class RatelimitConfig(BaseModel, frozen=True, extra="forbid"):
    """How the shared counters are reached, and what holds before anybody is known."""

    timeout: timedelta = timedelta(milliseconds=50)  # one call; then each process counts by itself
    pause: timedelta = timedelta(seconds=1)  # until the counters are tried again
    grace: timedelta = timedelta(seconds=5)  # how long a kept place waits for its client
    places: NonNegativeInt = 10_000  # kept for one tenant; who comes later gets an estimate
    # Before a caller is known. An address is an IPv4 address or an IPv6 network of 64 bits.
    address_per_minute: PositiveInt | None = None  # requests of any kind; None: as many as come
    failed_address_per_minute: PositiveInt = (
        600  # refused credentials; then only keys known to be good
    )
    failed_key_per_minute: PositiveInt = 120  # the same refused key
