"""An admission that asks nobody, for tests of what comes after it."""

from __future__ import annotations

from sidelight.base.auth.guard import Guard
from sidelight.collector.metrics.values import Counter
from sidelight.collector.receivers.common.admission import Admission


def open_to_all() -> Admission:
    """As without tokens and key pairs."""
    counter = Counter("unauthorized", "Refused", ("protocol", "reason"))
    return Admission(Guard((), "receive.tokens"), counter)
