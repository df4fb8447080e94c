"""What a scraper reads of an API process. No label grows with tenants, jobs or paths."""

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from app.ratelimit.limiter import Limiter
from app.retention.models import PurgeMark

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS: Final = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30)


class Metrics:
    """The counts of one process, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "towpath_http_requests_total", "Requests answered.", ("route", "method", "status"),
            registry=self._registry,
        )  # fmt: skip
        self._seconds = Histogram(
            "towpath_http_request_seconds", "Time from request to the end of its answer.",
            ("route", "method"), buckets=_BUCKETS, registry=self._registry,
        )  # fmt: skip
        self._admitted = Counter(
            "towpath_jobs_admitted_total", "Admissions by their outcome.", ("outcome",),
            registry=self._registry,
        )  # fmt: skip
        self._behind = Gauge(
            "towpath_purge_behind_seconds",
            "Age, beyond what is kept, of what the purge has yet to delete.", ("kind",),
            registry=self._registry,
        )  # fmt: skip
        self._purged = Gauge(
            "towpath_purged_total", "Jobs and events that the purge is done with.", ("kind",),
            registry=self._registry,
        )  # fmt: skip
        # labels() looks its child up under a lock each time; these are asked for on every request.
        self._outcomes: dict[str, Callable[[], None]] = {}
        self._children: dict[
            tuple[str, str, int], tuple[Callable[[], None], Callable[[float], None]]
        ] = {}

    def served(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        children = self._children.get((route, method, status))
        if children is None:
            children = (
                self._requests.labels(route, method, str(status)).inc,
                self._seconds.labels(route, method).observe,
            )
            self._children[route, method, status] = children
        children[0]()
        children[1](seconds)

    def admitted(self, outcome: str) -> None:
        """Count one admission: created, replayed, or the code of its refusal."""
        count = self._outcomes.get(outcome)
        if count is None:
            count = self._outcomes[outcome] = self._admitted.labels(outcome).inc
        count()

    def watching(self, count: Callable[[], int]) -> None:
        """Show how many clients wait for jobs."""
        gauge = Gauge(
            "towpath_watching_clients", "Clients that wait for a job or its events.",
            registry=self._registry,
        )  # fmt: skip
        gauge.set_function(count)

    def limiting(self, limiter: Limiter) -> None:
        """Show whether the shared limits are in reach, and what was counted without them."""
        lost = Gauge(
            "towpath_limits_lost", "1 while the shared rate limits are out of reach.",
            registry=self._registry,
        )  # fmt: skip
        lost.set_function(lambda: float(limiter.lost))
        alone = Gauge(
            "towpath_limits_counted_alone_total", "Requests counted by this process by itself.",
            registry=self._registry,
        )  # fmt: skip
        alone.set_function(lambda: float(limiter.losses))

    def purging(self, marks: Iterable[PurgeMark]) -> None:
        """Show how far the purge of each kind of data has come."""
        for mark in marks:
            self._behind.labels(mark.kind).set(mark.behind_seconds)
            self._purged.labels(mark.kind).set(mark.purged)

    def exposition(self) -> bytes:
        """All of it, in the text format."""
        return generate_latest(self._registry)
