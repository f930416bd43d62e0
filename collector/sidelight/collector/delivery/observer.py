"""Who counts what happens to data on the way from the log to the destinations."""

from __future__ import annotations

from typing import Protocol

from sidelight.collector.delivery.sampling.sampler import Decision


class Observer(Protocol):
    """Told as it happens; `destination` is the subscription's name."""

    def delivered(self, destination: str, items: int) -> None:
        """The destination took `items`."""

    def dropped(self, destination: str, items: int, reason: str) -> None:
        """Acknowledged items were given up."""

    def retried(self, destination: str) -> None:
        """A send failed and will be repeated."""

    def sampled(self, destination: str, decision: Decision) -> None:
        """Tail sampling decided on a trace."""

    def withheld(self, destination: str, reason: str, items: int) -> None:
        """The destination does not get `items` because its configuration says so."""
