"""Counts deliveries, drops, retries and sampling decisions by destination."""

from __future__ import annotations

from sidelight import conventions as c
from sidelight.collector.delivery.sampling.sampler import Decision
from sidelight.collector.metrics.registry import Registry


class DeliveryMetrics:
    """The counters of all destinations; delivery's `Observer`."""

    def __init__(self, registry: Registry) -> None:
        self._delivered = registry.counter(c.COLLECTOR_DELIVERED, ("destination",))
        self._dropped = registry.counter(c.COLLECTOR_DROPPED, ("destination", "reason"))
        self._retries = registry.counter(c.COLLECTOR_RETRIES, ("destination",))
        self._withheld = registry.counter(c.COLLECTOR_WITHHELD, ("destination", "reason"))
        self._sampled = registry.counter(c.COLLECTOR_SAMPLED, ("destination", "decision", "reason"))

    def delivered(self, destination: str, items: int) -> None:
        """The destination accepted `items`."""
        self._delivered.labels(destination).inc(items)

    def dropped(self, destination: str, items: int, reason: str) -> None:
        """Acknowledged items will not be delivered, because of `reason`."""
        self._dropped.labels(destination, reason).inc(items)

    def retried(self, destination: str) -> None:
        """A send failed and will be retried."""
        self._retries.labels(destination).inc()

    def withheld(self, destination: str, reason: str, items: int) -> None:
        """The configuration of the destination excludes `items`."""
        self._withheld.labels(destination, reason).inc(items)

    def sampled(self, destination: str, decision: Decision) -> None:
        """Tail sampling decided on a trace."""
        outcome = "kept" if decision.is_kept else "dropped"
        self._sampled.labels(destination, outcome, decision.name.lower()).inc()
