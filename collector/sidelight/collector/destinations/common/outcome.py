"""What can come of sending a batch, and what the forwarder does about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sidelight.collector.log.record import Record
from sidelight.otlp.signals import Signal


@dataclass(frozen=True, slots=True)
class Delivered:
    """Taken; of its items `rejected` were refused by the backend (OTLP partial success).

    `said` holds the backend's own words on them, which may quote content: they belong into
    the dead letters, never into a log line.
    """

    rejected: int = 0
    reason: str = ""
    said: str = ""


@dataclass(frozen=True, slots=True)
class Retry:
    """Not taken, may be later: send the same bytes again after `after_seconds` or a backoff.

    Wrong keys and wrong addresses are retried too: a person can correct them, and what was
    acknowledged must not be lost until then. `reason` is one sentence that says what to do.
    """

    reason: str
    after_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """Never taken as it is, for its size or a bad item: halve it; a single item is dead-lettered.

    `status` is the HTTP status. `said` holds the backend's own words on the batch, which may
    quote its content: they belong into the dead letters, never into a log line.
    """

    reason: str
    status: int
    said: str = ""


Outcome = Delivered | Retry | Refused


class Exporter(Protocol):
    """What sends to one backend. All of it runs on the event loop, and none of it blocks there."""

    @property
    def name(self) -> str:
        """The configured name: the cursor's and the metric label's."""

    @property
    def signals(self) -> frozenset[Signal]:
        """What it takes; other records are passed over."""

    @property
    def pace_items_per_second(self) -> float | None:
        """Most items a second, or None for no limit."""

    async def send(self, record: Record) -> Outcome:
        """Send one record; faults of the network and the backend are outcomes, not exceptions.

        Cancelled, it ends when nothing of it is under way any more: what follows may send the
        same record again.
        """

    def close(self) -> None:
        """Give up connections; a `send` under way may fail with `Retry`."""
