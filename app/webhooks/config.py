"""Settings of the webhooks room."""

from pydantic import BaseModel, Field, PositiveInt


class WebhooksConfig(BaseModel, frozen=True, extra="forbid"):
    """How tenants are told."""

    # Private `ip:port` (IPv6 as `[ip]:port`) that may be sent to all the same; the local stack's receiver.
    allowed_private: frozenset[str] = frozenset()
    # A try in all, from look-up to status; must stay below the lease of a delivery, 30 s.
    timeout_seconds: float = Field(default=15.0, gt=0, le=25)
    # Deliveries in flight to one endpoint: a silent one holds this many senders, and no more.
    per_endpoint: PositiveInt = 8
    # Deliveries in flight in all: what the workers' delivery slots can take up within the lease.
    in_flight: PositiveInt = 64
