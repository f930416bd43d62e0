"""An admission that asks nobody, for tests of what comes after it."""

from __future__ import annotations

from sidelight.base.auth.guard import Guard
from sidelight.collector.ingest.intake import Intake
from sidelight.collector.metrics.instruments import Counter
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.receivers.common.admission import Admission
from sidelight.collector.receivers.common.type import ReceiverContext


def open_to_all() -> Admission:
    """As without tokens and key pairs."""
    counter = Counter("unauthorized", "Refused", ("protocol", "reason"))
    return Admission(Guard(), counter)


def receiver_context(intake: Intake) -> ReceiverContext:
    """What a receiver gets, with nobody to be asked and nothing counted anywhere."""
    return ReceiverContext(
        intake=intake,
        registry=Registry(),
        admission=open_to_all(),
        requests=Counter("requests", "Requests", ("protocol", "outcome")),
        failed_handshake=lambda *_: None,
    )
