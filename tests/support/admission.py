"""An admission that asks nobody, for tests of what comes after it."""

from __future__ import annotations

from sidelight.collector.measure.values import Counter
from sidelight.collector.receive.admission import Admission
from sidelight.collector.receive.guard import Guard


def open_to_all() -> Admission:
    """As without tokens and key pairs."""
    counter = Counter("unauthorized", "Refused", ("protocol", "reason"))
    return Admission(Guard((), "receive.tokens"), counter)
