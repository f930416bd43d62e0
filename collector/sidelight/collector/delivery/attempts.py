"""What has become of one record that is being delivered, in parts if need be."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from sidelight.collector.delivery.blame import Part, max_failed_parts
from sidelight.collector.delivery.faults import Faults
from sidelight.collector.destinations.common.outcome import Failure

LetPass = Callable[[bool], None]
"""Told that the records behind one are to be tried; whether only single items of it are left."""


def never_passed(_is_small: bool) -> None:
    """What no other batch may pass."""


@dataclass(slots=True)
class Attempts:
    """What has become of one record so far."""

    number: int
    """Tells the record from the others under way."""
    items: int
    parts: deque[Part]
    """Those that are still to be sent, less the one under way."""
    let_others_pass: LetPass
    is_test: bool
    faults: Faults = field(default_factory=Faults)
    given_up: Counter[int] = field(default_factory=Counter)
    """Items that went to the dead letters, by status; 0 if there was no answer."""
    failed_parts: int = 0
    accepted_then: int = 0
    takes_empty: bool | None = None
    is_suspected: bool = False
    last_failure: Failure | None = None
    is_small: bool = False
    """Only single items are left, and each has failed."""
    timer: asyncio.TimerHandle | None = None
    raised_parts: int = 0
    """The parts on which our own code failed since one was delivered."""
    unsendable: Counter[str] = field(default_factory=Counter)
    """Items that were kept aside since our own code fails on them, by reason."""

    @property
    def may_halve(self) -> bool:
        """Whether so few parts have failed in a row that the record may be to blame."""
        return self.failed_parts < max_failed_parts(self.items)

    def may_isolate(self) -> bool:
        """Note a part on which our own code fails; whether its halves are to be tried."""
        self.raised_parts += 1
        # A fault that every item meets needs no more proof.
        return self.raised_parts <= max_failed_parts(self.items)
