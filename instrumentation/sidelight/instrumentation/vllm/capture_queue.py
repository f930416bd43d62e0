"""The bounded queue from vLLM's event loop to the processing thread."""

from __future__ import annotations

import threading
from collections import deque
from typing import Final

from sidelight.instrumentation.vllm.records import Record

MAX_QUEUED_RECORDS: Final = 16_384


class CaptureQueue:
    """A queue whose `put` costs under a microsecond and wakes the reader only if it sleeps.

    The processing thread lets records gather before it drains the queue, so that an engine
    step does not pay for a thread switch.
    """

    __slots__ = ("_capacity", "_records", "_sleeping", "_wake", "dropped")

    def __init__(self, capacity: int = MAX_QUEUED_RECORDS) -> None:
        self._capacity = capacity
        self._records: deque[Record] = deque()
        self._wake = threading.Event()
        self._sleeping = False
        self.dropped = 0

    def put(self, record: Record) -> bool:
        """Queue a record. Returns False, and counts it as dropped, if the queue is full."""
        if len(self._records) >= self._capacity:
            self.dropped += 1
            return False
        self._records.append(record)
        if self._sleeping:
            self._sleeping = False
            self._wake.set()
        return True

    def wait(self, seconds: float) -> None:
        """Sleep until a record is put, or for at most `seconds`."""
        self._wake.clear()
        self._sleeping = True
        # A record put between the last drain and the line above woke nobody.
        if not self._records:
            self._wake.wait(seconds)
        self._sleeping = False

    def wake(self) -> None:
        """End a `wait` from outside."""
        self._wake.set()

    def drain(self) -> list[Record]:
        """Take all records that are queued now, oldest first."""
        return [self._records.popleft() for _ in range(len(self._records))]
