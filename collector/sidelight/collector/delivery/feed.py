"""What one destination is to get next: the log, less what its configuration withholds."""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from typing import Protocol

from sidelight.collector.delivery.select import Selector
from sidelight.collector.log.cursor import Cursor
from sidelight.collector.log.position import Entry, Position
from sidelight.collector.log.record import Record
from sidelight.otlp.signals import Signal

Withheld = Callable[[str, int], None]
"""Told the reason and the number of items that a destination does not get."""

# Records passed over in one go, so that a shutdown need not wait for a whole log.
_MAX_PASSED = 64
_MAX_PASSED_ON_LOOP = 8

MAX_JOINED = 64
"""Records that are sent as one, if they wait behind each other."""
MAX_JOINED_BYTES = 256 * 1024
"""Of their bodies, together. Compressing them again takes a millisecond."""


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
    """Where a forwarder gets its data."""

    def read(self, position: Position) -> Step | Held | None:
        """The next step at or behind `position`, up to which all is done; None at the end.

        Blocks; calls come one at a time.
        """

    def recent(self, position: Position) -> Step | None:
        """What `read` returns, if it is a step that can be had without blocking."""

    def is_end(self, position: Position) -> bool:
        """Whether `read` returns None, as far as can be told without blocking."""


class LogFeed:
    """Everything in the log, in order, less what the selector withholds.

    Where it joins, small records that wait behind each other are one step. A backend that takes
    50 ms for a request gets 20 a second, and would fall behind senders of small requests for ever.
    """

    def __init__(
        self,
        cursor: Cursor,
        signals: Container[Signal],
        selector: Selector | None = None,
        withheld: Withheld | None = None,
        *,
        joins: bool = False,
    ) -> None:
        self._cursor = cursor
        self._signals = signals
        self._selector = selector or Selector()
        self._withheld = withheld
        self._joins = joins

    def is_end(self, position: Position) -> bool:
        """Whether nothing is behind `position`."""
        return self._cursor.is_end(position)

    def recent(self, position: Position) -> Step | None:
        """The next step as far as the log has it in memory and selecting takes no time."""
        try:
            return self._next(self._at_hand, position, _MAX_PASSED_ON_LOOP)
        except Exception:  # noqa: BLE001 (whatever it is, `read` raises it again)
            return None

    def read(self, position: Position) -> Step | None:
        """The next step at or behind `position`; records without a rest are passed over."""
        return self._next(self._cursor.read, position, _MAX_PASSED)

    def _at_hand(self, position: Position) -> Entry | None:
        entry = self._cursor.recent(position)
        if entry is None or not entry.record.is_large:
            return entry
        signal = entry.record.signal
        # Decoding a large one is for a thread.
        return None if signal in self._signals and self._selector.opens(signal) else entry

    def _next(
        self, read: Callable[[Position], Entry | None], position: Position, max_passed: int
    ) -> Step | None:
        step: Step | None = None
        skipped = 0
        for _ in range(max_passed):
            entry = read(step.end if step else position)
            if entry is None:
                break
            skipped += entry.skipped_bytes
            try:
                step = self._step(entry, skipped)
            except Exception:
                # Raised when it is the first to be read, so that no other is blamed.
                if step is None:
                    raise
                break
            if step.record is not None or skipped:
                break
        if self._joins and step is not None and step.record is not None:
            return self._with_waiting(step, step.record, read)
        return step

    def _with_waiting(
        self, step: Step, first: Record, read: Callable[[Position], Entry | None]
    ) -> Step:
        """The step, and the records behind it that are to be sent, as far as they are small."""
        end = step.end
        records = [first]
        body_bytes = first.body_bytes
        # The bodies, only once there is a second record.
        bodies: list[bytes] = []
        for _ in range(MAX_JOINED - 1 if body_bytes < MAX_JOINED_BYTES else 0):
            # Whatever is wrong with one is told when it is the first to be read.
            try:
                entry = read(end)
                if entry is None or entry.skipped_bytes:
                    break
                if entry.record.signal in self._signals:
                    body_bytes += entry.record.body_bytes
                    if entry.record.signal != first.signal or body_bytes > MAX_JOINED_BYTES:
                        break
                    bodies = bodies or [first.body()]
                    selected = self._step(entry, 0).record
                    if selected is not None:
                        bodies.append(selected.body())
                        records.append(selected)
            except Exception:  # noqa: BLE001
                break
            end = entry.end
        if len(records) > 1:
            items = sum(record.items for record in records)
            # Serialised messages of one type concatenate into their merge.
            first = first.with_body(b"".join(bodies), items)
        return replace(step, record=first, end=end)

    def _step(self, entry: Entry, skipped_bytes: int) -> Step:
        record: Record | None = None
        if entry.record.signal in self._signals:
            selection = self._selector.select(entry.record)
            record = selection.record
            for reason, items in selection.withheld.items():
                if self._withheld is not None:
                    self._withheld(reason, items)
        return Step(record, entry.start, entry.end, entry.record.time_ns, skipped_bytes)
