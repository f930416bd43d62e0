"""Counts what HTTP receivers refuse before the intake sees it, and tells operators."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from sidelight.collector.ingest.intake import Intake
from sidelight.collector.metrics.instruments import Counter
from sidelight.otlp.signals import Signal

_REASONS: Final[Mapping[int, str]] = {
    401: "unauthorized",
    403: "unauthorized",
    408: "timeout",
    413: "too_large",
    415: "unsupported",
    429: "busy",
    431: "too_large",
    501: "unsupported",
    503: "busy",
}


class HttpRefusals:
    """The refusals of one receiver, each counted once."""

    def __init__(
        self,
        protocol: str,
        signal: Callable[[str], Signal | None],
        requests: Counter,
        intake: Intake,
    ) -> None:
        """`protocol` is the label of `requests`. `signal` says what a path accepts, if anything."""
        self._protocol = protocol
        self._signal = signal
        self._requests = requests
        self._intake = intake

    def note(self, path: str, status: int, sentence: str) -> None:
        """Count and log a request that is refused with `status`.

        One to a path that accepts no data is not counted, for no data is refused.
        """
        # A request that is refused before its path was read may be of any signal.
        signal = self._signal(path) if path else "unknown"
        if signal is not None:
            self._intake.refusals.note(signal, _REASONS.get(status, "malformed"), sentence)

    def by_server(self, path: str, status: int, sentence: str) -> None:
        """As `note`, for a refusal that the receiver's handler never sees."""
        self._requests.labels(self._protocol, str(status)).inc()
        self.note(path, status, sentence)
