"""What a tenant may ask for and pile up: rates of requests and tokens, ceilings of its queue. Data, no decision."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from app.core.errors import Invalid

OF: Final = ("tenant", "key", "end_user")
UNITS: Final = ("requests", "tokens")
LOST: Final = ("hold", "refuse")
MAX_PER_MINUTE: Final = 1_000_000_000_000
MAX_NAME_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class Rate:
    """So many units a minute, of the whole tenant, of each of its keys or of each of its end users.

    `burst` is how much may come at once. `route` narrows it to one, such as `POST /v1/jobs`. Without
    the shared counters (`when_lost`) each process holds the limit for itself, or refuses.
    """

    of: str
    unit: str
    per_minute: int
    burst: int
    route: str | None = None
    when_lost: str = "hold"

    @property
    def name(self) -> str:
        """What headers and problems call it: `tenant-requests`, `key-tokens POST /v1/jobs`."""
        return f"{self.of}-{self.unit}" + ("" if self.route is None else f" {self.route}")


@dataclass(frozen=True, slots=True)
class Ceiling:
    """How much may wait in one lane: jobs, their predicted cost, the age of the oldest. None: no ceiling."""

    jobs: int | None = None
    cost_nanousd: int | None = None
    age_seconds: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """All limits in force for a tenant: those of its plan, and its own in place of them."""

    rates: tuple[Rate, ...] = ()
    ceilings: Mapping[str, Ceiling] | None = None  # by lane


NONE: Final = Limits()


def in_force(plan: Mapping[str, Any] | None, own: Mapping[str, Any]) -> Limits:
    """A plan's limits with the tenant's own in place of those of the same name; null takes one away."""
    if not plan and not own:
        return NONE
    rates, queue = dict((plan or {}).get("rates", {})), dict((plan or {}).get("queue", {}))
    rates |= own.get("rates", {})
    queue |= own.get("queue", {})
    return Limits(
        tuple(Rate(**one) for _, one in sorted(rates.items()) if one is not None),
        {lane: Ceiling(**one) for lane, one in queue.items() if one is not None} or None,
    )


def with_rate(held: Mapping[str, Any], rate: Rate) -> dict[str, Any]:
    """Limits as they are stored, with this rate set. Raises Invalid."""
    _check(rate)
    return {**held, "rates": {**held.get("rates", {}), rate.name: asdict(rate)}}


def with_ceiling(held: Mapping[str, Any], lane: str, ceiling: Ceiling) -> dict[str, Any]:
    """Limits as they are stored, with the ceiling of a lane set. Raises Invalid."""
    for name, value in asdict(ceiling).items():
        if value is not None and value < 0:
            raise Invalid.at(f"/{name}", "not below zero")
    return {**held, "queue": {**held.get("queue", {}), lane: asdict(ceiling)}}


def without(held: Mapping[str, Any], name: str, *, inherits: bool) -> dict[str, Any]:
    """Limits as they are stored, without the rate or the lane of this name. Raises Invalid for an unknown one.

    Where they inherit from a plan, one that isn't there itself is taken away from what is inherited.
    """
    for kind in ("rates", "queue"):
        part = dict(held.get(kind, {}))
        if name in part:
            del part[name]
            return {**held, kind: part}
    if not inherits:
        raise Invalid.at("/name", "there is no limit of this name")
    kind = "rates" if "-" in name else "queue"
    return {**held, kind: {**held.get(kind, {}), name: None}}


def _check(rate: Rate) -> None:
    if rate.of not in OF:
        raise Invalid.at("/of", f"one of {', '.join(OF)}")
    if rate.unit not in UNITS:
        raise Invalid.at("/unit", f"one of {', '.join(UNITS)}")
    if rate.when_lost not in LOST:
        raise Invalid.at("/when_lost", f"one of {', '.join(LOST)}")
    for name in ("per_minute", "burst"):
        if not 1 <= getattr(rate, name) <= MAX_PER_MINUTE:
            raise Invalid.at(f"/{name}", f"from 1 to {MAX_PER_MINUTE}")
    if rate.route is not None:
        # It stands in a header between quotation marks.
        printable = rate.route.isascii() and rate.route.isprintable() and '"' not in rate.route
        if not printable or "\\" in rate.route or not 0 < len(rate.route) <= MAX_NAME_CHARS:
            raise Invalid.at("/route", "a method and a path, such as POST /v1/jobs")
