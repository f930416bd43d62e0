"""The injector's metrics."""

from __future__ import annotations

from typing import Literal

from sidelight import conventions as c
from sidelight.base.http_server import HandshakeFault
from sidelight.collector.metrics.registry import Registry

ErrorKind = Literal["unreadable", "refused", "internal"]
"""Not an AdmissionReview; refused by the HTTP server; a fault of the injector."""
EventOutcome = Literal["written", "limited", "failed"]


class InjectorMetrics:
    """Counts what was done with pods, and what failed."""

    def __init__(self, registry: Registry) -> None:
        self._pods = registry.counter(c.INJECTOR_PODS, ("outcome", "reason"))
        self._errors = registry.counter(c.INJECTOR_ERRORS, ("kind",))
        self._events = registry.counter(c.INJECTOR_EVENTS, ("outcome",))
        self._handshakes = registry.counter(c.INJECTOR_HANDSHAKES_FAILED, ("reason",))
        # Read at each scrape, because a certificate changes without us when it lies in files.
        self.expiry = registry.gauge(c.INJECTOR_CERTIFICATE_EXPIRY)
        self.seconds = registry.histogram(c.INJECTOR_REVIEW_DURATION).labels()

    def reviewed(self, reason: str, *, is_injected: bool) -> None:
        """A pod got its answer."""
        self._pods.labels("injected" if is_injected else "skipped", reason).inc()

    def failed(self, kind: ErrorKind) -> None:
        """A request could not be reviewed."""
        self._errors.labels(kind).inc()

    def event(self, outcome: EventOutcome) -> None:
        """An Event was written or not."""
        self._events.labels(outcome).inc()

    def failed_handshake(self, fault: HandshakeFault) -> None:
        """A TLS handshake with the webhook's port failed."""
        self._handshakes.labels(fault).inc()
