"""What one destination is to get next: the log, less what its configuration withholds."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Protocol

from sidelight.collector.delivery.select import Selector
from sidelight.collector.log.cursor import Position
from sidelight.collector.log.log import Log
from sidelight.collector.log.record import Record
from sidelight.otlp.signals import Signal

Withheld = Callable[[str, int], None]
"""Told the reason and the number of items that a destination does not get."""

# Records passed over in one go, so that a shutdown need not wait for a whole log.
_MOST_PASSED = 64


@dataclass(frozen=True, slots=True)
class Step:
    """What to send (None: nothing) before everything up to `end` is done with.

    `time_ns` is when it was appended, `skipped_bytes` what was damaged before it.
    """

    record: Record | None
    start: Position
    end: Position
    time_ns: int
    skipped_bytes: int


@dataclass(frozen=True, slots=True)
class Held:
    """Something is there but not due before `seconds` have passed or more was appended."""

    seconds: float
    since_ns: int


class Feed(Protocol):
    """Where a forwarder gets its data; calls block and come from one thread."""

    def read(self, position: Position) -> Step | Held | None:
        """The next step at or behind `position`, up to which all is done; None at the end."""


class LogFeed:
    """Everything in the log, in order, less what the selector withholds."""

    def __init__(
        self,
        log: Log,
        signals: Container[Signal],
        selector: Selector | None = None,
        withheld: Withheld | None = None,
    ) -> None:
        self._log = log
        self._signals = signals
        self._selector = selector or Selector()
        self._withheld = withheld

    def read(self, position: Position) -> Step | None:
        """The next step at or behind `position`; records without a rest are passed over."""
        step: Step | None = None
        skipped = 0
        for _ in range(_MOST_PASSED):
            entry = self._log.read(step.end if step else position)
            if entry is None:
                break
            skipped += entry.skipped_bytes
            record: Record | None = None
            if entry.record.signal in self._signals:
                try:
                    selection = self._selector.select(entry.record)
                except Exception:
                    # Raised when it is the first to be read, so that no other is blamed.
                    if step is None:
                        raise
                    break
                record = selection.record
                for reason, items in selection.withheld.items():
                    if self._withheld is not None:
                        self._withheld(reason, items)
            step = Step(record, entry.start, entry.end, entry.record.time_ns, skipped)
            if record is not None or skipped:
                break
        return step
