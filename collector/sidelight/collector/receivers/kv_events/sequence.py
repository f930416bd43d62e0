"""Where a message is in its publisher's sequence: next, after a gap, or of a restarted one."""

from __future__ import annotations

from typing import Literal, NamedTuple

ArrivalKind = Literal["next", "joined", "gap", "restart"]


class Arrival(NamedTuple):
    """How a message arrived, and how many before it are missing."""

    kind: ArrivalKind
    missing: int


class MessageSequence:
    """Checks the numbers of one publisher's messages, which begin with 0."""

    def __init__(self) -> None:
        self._expected: int | None = None

    def arrival(self, number: int) -> Arrival:
        """How a message has arrived.

        One with a lower number than expected is that of a new publisher: ZeroMQ keeps the order.
        """
        if self._expected is None:
            return Arrival("joined", number)
        if number < self._expected:
            return Arrival("restart", number)
        missing = number - self._expected
        return Arrival("gap" if missing else "next", missing)

    def advance(self, number: int) -> None:
        """Expect the message after this one."""
        self._expected = number + 1
