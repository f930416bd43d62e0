"""The outcomes of sending a batch, and what the forwarder does with each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sidelight.collector.log.record import Record
from sidelight.otlp.signals import Signal


@dataclass(frozen=True, slots=True)
class Delivered:
    """The backend accepted the batch, except `rejected` items (OTLP partial success).

    `said` holds the backend's own words on them. They may quote content, so they go to the
    dead letters and never to the log.
    """

    rejected: int = 0
    reason: str = ""
    said: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Not accepted now. The same bytes are sent again after `after_seconds`, or after a backoff.

    Wrong credentials and addresses are retried as well: a person can correct them, and
    acknowledged data must not be lost until then. `reason` is one sentence that says what to do.
    """

    reason: str
    after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """Rejected for good, for its size or a bad item. It is halved; a single item is dead-lettered.

    `status` is the HTTP status. `said` holds the backend's own words on the batch. They may
    quote content, so they go to the dead letters and never to the log.
    """

    reason: str
    status: int
    said: str = ""


Outcome = Delivered | Retry | Rejected


class Exporter(Protocol):
    """Sends to one backend. It runs on the event loop and never blocks it."""

    @property
    def name(self) -> str:
        """The configured name, which is also that of the cursor and of the metrics' label."""

    @property
    def signals(self) -> frozenset[Signal]:
        """The signals that it sends; records of others are skipped."""

    @property
    def pace_items_per_second(self) -> float | None:
        """Most items per second; None for no limit."""

    async def send(self, record: Record) -> Outcome:
        """Send one record. Faults of network and backend are outcomes, not exceptions.

        When it is cancelled, it ends only after its work has stopped: the same record may be
        sent again right after it.
        """

    def close(self) -> None:
        """Close connections. A `send` under way may return `Retry`."""
