"""Counts what happens on the way from the log to the destinations."""

from __future__ import annotations

from sidelight import conventions as c
from sidelight.collector.delivery.sampling.sampler import Decision
from sidelight.collector.metrics.registry import Registry


class DeliveryMetrics:
    """The counters of all destinations; an `Observer`."""

    def __init__(self, registry: Registry) -> None:
        self._delivered = registry.counter(c.COLLECTOR_DELIVERED, ("destination",))
        self._dropped = registry.counter(c.COLLECTOR_DROPPED, ("destination", "reason"))
        self._retries = registry.counter(c.COLLECTOR_RETRIES, ("destination",))
        self._withheld = registry.counter(c.COLLECTOR_WITHHELD, ("destination", "reason"))
        self._sampled = registry.counter(c.COLLECTOR_SAMPLED, ("destination", "decision", "reason"))

    def delivered(self, destination: str, items: int) -> None:
        """The destination took `items`."""
        self._delivered.labels(destination).inc(items)

    def dropped(self, destination: str, items: int, reason: str) -> None:
        """Acknowledged items were given up."""
        self._dropped.labels(destination, reason).inc(items)

    def retried(self, destination: str) -> None:
        """A send failed and will be repeated."""
        self._retries.labels(destination).inc()

    def withheld(self, destination: str, reason: str, items: int) -> None:
        """The destination does not get `items` because its configuration says so."""
        self._withheld.labels(destination, reason).inc(items)

    def sampled(self, destination: str, decision: Decision) -> None:
        """Tail sampling decided on a trace."""
        outcome = "kept" if decision.is_kept else "dropped"
        self._sampled.labels(destination, outcome, decision.name.lower()).inc()
