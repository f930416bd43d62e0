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
    dead letters and never to the log. `was_sent`: not if nothing in the batch is for the backend,
    which then has shown nothing of itself.
    """

    rejected: int = 0
    reason: str = ""
    said: str = ""
    was_sent: bool = True


@dataclass(frozen=True, slots=True)
class Retry:
    """Not accepted now. The same bytes are sent again after `after_seconds`, or after a backoff.

    Wrong credentials and addresses are retried as well: a person can correct them, and
    acknowledged data must not be lost until then.

    - `reason` is one sentence that says what to do. It is logged, so it holds no words of the
      backend, which may quote content.
    - `cause` is the label of metrics: one of few, such as `http_500` or `timeout`.
    - `said` holds the backend's own words, `mark` the kind, size and hash of its answer.
    - `is_destinations`: the batch is certainly not to blame, so that it is never halved.
    """

    reason: str
    after_seconds: float | None = None
    cause: str = "failed"
    said: str = ""
    mark: str = ""
    is_destinations: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """Rejected for its size or a bad item, it seems. It is halved unless the rest fails as well.

    `status` is the HTTP status. `is_large`: it is larger than what backends usually accept. The
    other fields are those of `Retry`.
    """

    reason: str
    status: int
    said: str = ""
    cause: str = "rejected"
    mark: str = ""
    is_large: bool = False


Failure = Retry | Rejected
Outcome = Delivered | Failure


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

    async def send_nothing(self, signal: Signal) -> Outcome | None:
        """Send a request without items, otherwise like those of `send`; it stores nothing.

        A failure shows that the destination is at fault and no batch. None if the backend has
        no such request.
        """

    def close(self) -> None:
        """Close connections. A `send` under way may return `Retry`."""
