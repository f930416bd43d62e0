"""The bounded queue between vLLM's event loop and Sidelight's worker thread."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Final

CAPACITY: Final = 16_384


class CaptureQueue:
    """A queue whose `put` costs under a microsecond and wakes a thread only if it sleeps.

    The worker gathers for a while before it drains, so that a step of the engine does not pay
    for a thread switch.
    """

    __slots__ = ("_capacity", "_items", "_sleeping", "_wake", "dropped")

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._items: deque[Any] = deque()
        self._wake = threading.Event()
        self._sleeping = False
        self.dropped = 0

    def put(self, item: Any) -> bool:
        """Queue an item; where the queue is full, count it as dropped and say False."""
        if len(self._items) >= self._capacity:
            self.dropped += 1
            return False
        self._items.append(item)
        if self._sleeping:
            self._sleeping = False
            self._wake.set()
        return True

    def wait(self, seconds: float) -> None:
        """Sleep until something is put, or for at most `seconds`."""
        self._wake.clear()
        self._sleeping = True
        # An item put between the last drain and the line above woke nobody.
        if not self._items:
            self._wake.wait(seconds)
        self._sleeping = False

    def wake(self) -> None:
        """End a `wait` from outside."""
        self._wake.set()

    def drain(self) -> list[Any]:
        """Everything that is queued now, oldest first."""
        return [self._items.popleft() for _ in range(len(self._items))]
