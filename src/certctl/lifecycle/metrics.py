"""What is counted, for `/metrics`.

The library is loaded when the first `Metrics` is made. With several worker processes each counts
in files of its own (its multiprocess mode), named by the worker's number: a worker that takes a
dead one's place counts on from there, so that nothing goes down and no files pile up.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from prometheus_client import Counter, Histogram, Metric

    from certctl.domain.events import EventKind


@dataclass(frozen=True, slots=True)
class Meter:
    """One metric: how it is called, what its labels are, what it says."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


ISSUANCE = Meter(
    "certctl_issuance_total",
    "counter",
    ("issuer_type", "outcome"),
    "Orders that came to an end: issued, rejected, expired or cancelled",
)
ISSUANCE_SECONDS = Meter(
    "certctl_issuance_duration_seconds",
    "histogram",
    ("issuer_type",),
    "How long issued orders took, from the order to the stored certificate",
)
ISSUANCE_FAILURES = Meter(
    "certctl_issuance_failures_total",
    "counter",
    ("issuer_type", "error_class"),
    "Attempts to have a certificate issued that failed, by why",
)
ATTEMPTS = Meter(
    "certctl_attempts_total",
    "counter",
    ("issuer_type", "action", "outcome"),
    "Calls to CAs about orders, by what came of them",
)
ATTEMPT_SECONDS = Meter(
    "certctl_attempt_duration_seconds",
    "histogram",
    ("issuer_type", "action"),
    "How long those calls took",
)
REVOCATIONS = Meter(
    "certctl_revocations_total",
    "counter",
    ("issuer_type", "outcome"),
    "Revocations, and holds taken back, that their CA confirmed or refused",
)
EVENTS = Meter(
    "certctl_events_total", "counter", ("kind",), "Events, by kind: what operators are told"
)
LOGIN_FAILURES = Meter(
    "certctl_login_failures_total",
    "counter",
    ("reason",),
    "Requests without a valid API key, by what was wrong with it",
)
REQUESTS = Meter(
    "certctl_http_requests_total",
    "counter",
    ("method", "route", "status"),
    "Requests to the API, by the route's address, and the status of the answer",
)
REQUEST_SECONDS = Meter(
    "certctl_http_request_duration_seconds",
    "histogram",
    ("method", "route"),
    "How long those answers took, until their last byte",
)
METERS = (
    ISSUANCE,
    ISSUANCE_SECONDS,
    ISSUANCE_FAILURES,
    ATTEMPTS,
    ATTEMPT_SECONDS,
    REVOCATIONS,
    EVENTS,
    LOGIN_FAILURES,
    REQUESTS,
    REQUEST_SECONDS,
)

_HOUR, _DAY = 3600.0, 86400.0
#: The bounds of the histograms, in seconds. Calls to CAs are answered at once, or take their time.
_BOUNDS = {
    ATTEMPT_SECONDS: (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0),
    # From our own CA to those where a person looks at every order.
    ISSUANCE_SECONDS: (
        *(0.01, 0.025, 0.1, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0),
        *(60.0, 300.0, 900.0, _HOUR, 6 * _HOUR, _DAY, 7 * _DAY),
    ),
    REQUEST_SECONDS: (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0),
}


@dataclass(frozen=True, slots=True)
class SharedFiles:
    """Where the workers of one server count, and which of them this process is.

    No two running processes have the same number.
    """

    directory: Path
    worker: int

    @staticmethod
    def make_empty(directory: Path) -> None:
        """Begin anew: for the process that starts the workers, before it does."""
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(mode=0o700)


class Metrics:
    """Counts, each in a microsecond or two. With `files`, together with other processes.

    There is one for each process with `files`: the library keeps that choice for the process. Label
    values are names out of the code or of configured types, so that they are few.
    """

    def __init__(self, files: SharedFiles | None = None) -> None:
        import prometheus_client

        prometheus: Any = prometheus_client  # some of it has no types
        self._files = files
        if files is not None:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(files.directory)
            worker = files.worker
            values: Any = prometheus.values
            values.ValueClass = values.MultiProcessValue(lambda: worker)
        prometheus.disable_created_metrics()
        self._registry = prometheus.CollectorRegistry()
        self._issuance = self._counter(ISSUANCE)
        self._attempts = self._counter(ATTEMPTS)
        self._revocations = self._counter(REVOCATIONS)
        self._events = self._counter(EVENTS)
        self._login_failures = self._counter(LOGIN_FAILURES)
        self._issuance_failures = self._counter(ISSUANCE_FAILURES)
        self._requests = self._counter(REQUESTS)
        self._seconds = self._histogram(ATTEMPT_SECONDS)
        self._issuance_seconds = self._histogram(ISSUANCE_SECONDS)
        self._request_seconds = self._histogram(REQUEST_SECONDS)
        if (
            files is None
        ):  # of several processes, one would answer for itself, and another next time
            prometheus.ProcessCollector(registry=self._registry)
        #: Looking a series up takes the library longer than counting.
        self._known: dict[tuple[Any, ...], Any] = {}
        self._known_requests: dict[tuple[str, str, int], tuple[Any, Any]] = {}

    def _counter(self, meter: Meter) -> Counter:
        from prometheus_client import Counter

        return Counter(meter.name, meter.help, meter.labels, registry=self._registry)

    def _histogram(self, meter: Meter) -> Histogram:
        from prometheus_client import Histogram

        return Histogram(
            meter.name, meter.help, meter.labels, buckets=_BOUNDS[meter], registry=self._registry
        )

    def issuance(self, issuer_type: str, outcome: str) -> None:
        """Count an order that came to its end; `outcome` is the state in which it is closed."""
        self._series(self._issuance, issuer_type, outcome).inc()

    def issuance_took(self, issuer_type: str, seconds: float) -> None:
        """Note how long an order took that led to a certificate."""
        self._series(self._issuance_seconds, issuer_type).observe(seconds)

    def issuance_failure(self, issuer_type: str, error_class: str) -> None:
        """Count a failed attempt; `error_class` is one of `outcomes.FAILURES`."""
        self._series(self._issuance_failures, issuer_type, error_class).inc()

    def attempt(self, issuer_type: str, action: str, outcome: str, seconds: float) -> None:
        """Count a call to a CA about an order, and how long it took."""
        self._series(self._attempts, issuer_type, action, outcome).inc()
        self._series(self._seconds, issuer_type, action).observe(seconds)

    def revocation(self, issuer_type: str, outcome: str) -> None:
        """Count a revocation that its CA confirmed or refused."""
        self._series(self._revocations, issuer_type, outcome).inc()

    def event(self, kind: EventKind) -> None:
        """Count an event."""
        self._series(self._events, kind.value).inc()

    def login_failure(self, reason: str) -> None:
        """Count a request without a valid key; `reason` is one of `LoginFault`."""
        self._series(self._login_failures, reason).inc()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer of the API; `route` is the address as the router spells it."""
        key = (method, route, status)
        found = self._known_requests.get(key)
        if found is None:
            found = self._known_requests[key] = (
                self._requests.labels(method, route, str(status)).inc,
                self._request_seconds.labels(method, route).observe,
            )
        count, observe = found
        count()
        observe(seconds)

    def _series(self, metric: Any, *labels: str) -> Any:
        key = (metric, *labels)
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = metric.labels(*labels)
        return found

    def collect(self) -> Iterable[Metric]:
        """What was counted, by all processes. Reads files where they are shared."""
        source: Any = self._registry
        if self._files is not None:
            from prometheus_client import multiprocess

            untyped: Any = multiprocess
            source = untyped.MultiProcessCollector(None, str(self._files.directory))
        collected: Iterable[Metric] = source.collect()
        return collected
