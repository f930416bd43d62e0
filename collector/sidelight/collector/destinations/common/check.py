"""Shared by the checks of several destinations: an empty export."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterable

from sidelight.base.check import Check
from sidelight.base.configuration.section import ConfigError
from sidelight.collector.destinations.common.answer import with_words
from sidelight.collector.destinations.common.outcome import Delivered, Exporter, Rejected, Retry
from sidelight.collector.log.record import Record
from sidelight.otlp.signals import SIGNALS, Signal

CORRECT_CONFIGURATION = "Correct it in the configuration."


async def export_nothing(exporter: Exporter, signals: Iterable[Signal]) -> list[str]:
    """Send an empty export of each signal, like a real one; returns the faults, in words.

    Closes the exporter.
    """
    exported = set(signals)
    troubles = []
    try:
        for signal in SIGNALS:
            if signal not in exported:
                continue
            match await exporter.send(Record(signal, gzip.compress(b""), 0, time.time_ns())):
                case Retry(reason=reason, said=said) | Rejected(reason=reason, said=said):
                    # The backend's words are safe to show: no content was sent.
                    troubles.append(with_words(reason, said))
                case Delivered():
                    pass
    finally:
        exporter.close()
    return list(dict.fromkeys(troubles))


def misconfigured(name: str, error: ConfigError) -> Check:
    """The finding for a destination that cannot be built or whose secrets cannot be read."""
    return Check(name, "fail", str(error), CORRECT_CONFIGURATION)
