"""Brings requests and the sequences that the engine made of them together, by their number.

A sequence carries the number of the request in whose context it began. It ends just before the
last bytes of the answer are sent, or is aborted when the client leaves, so it is nearly always
here when the request ends. Where it is not, the request waits for it.

There is no clock, thread or I/O in here.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from sidelight.instrumentation.vllm.parse.facts import AnswerFacts, RequestFacts
from sidelight.instrumentation.vllm.records import CapturedRequest
from sidelight.instrumentation.vllm.sequences import FinishedSequence

# Requests whose sequences wait for their end.
MAX_UNCLAIMED_REQUESTS: Final = 8_192
# A client may send a list of any number of prompts, and a beam search makes a sequence for each
# beam and token.
MAX_SEQUENCES_PER_REQUEST: Final = 8_192
MAX_UNCLAIMED_SEQUENCES: Final = 65_536
MAX_PENDING_REQUESTS: Final = 2_048


@dataclass(slots=True)
class PendingRequest:
    """A request that is over, and the sequences that it has claimed so far.

    Its number is its own among the requests of its `source`.
    `deadline` is when it stops waiting for more of them, on the caller's clock in seconds.
    """

    source: int
    captured: CapturedRequest
    request: RequestFacts
    answer: AnswerFacts
    deadline: float
    sequences: list[FinishedSequence] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether it has all of its sequences, or as many as are ever kept."""
        return len(self.sequences) >= min(self.captured.sequences, MAX_SEQUENCES_PER_REQUEST)


class Correlator:
    """Holds sequences that wait for their request, and requests that wait for their sequences."""

    def __init__(self) -> None:
        self._unclaimed: OrderedDict[tuple[int, int], list[FinishedSequence]] = OrderedDict()
        self._unclaimed_sequences = 0
        self._pending: list[PendingRequest] = []

    @property
    def has_pending(self) -> bool:
        """Whether a request waits."""
        return bool(self._pending)

    def add_sequence(self, source: int, sequence: FinishedSequence) -> None:
        """Keep a sequence for its request; the oldest requests' are dropped beyond the bounds.

        One that belongs to no request of the middleware is not kept.
        """
        if sequence.request_number is None:
            return
        siblings = self._unclaimed.setdefault((source, sequence.request_number), [])
        if len(siblings) < MAX_SEQUENCES_PER_REQUEST:
            siblings.append(sequence)
            self._unclaimed_sequences += 1
        while (
            len(self._unclaimed) > MAX_UNCLAIMED_REQUESTS
            or self._unclaimed_sequences > MAX_UNCLAIMED_SEQUENCES
        ):
            _, dropped = self._unclaimed.popitem(last=False)
            self._unclaimed_sequences -= len(dropped)

    def hold(self, pending: PendingRequest) -> bool:
        """Let a request wait. Returns False if too many wait already."""
        if len(self._pending) >= MAX_PENDING_REQUESTS:
            return False
        self._pending.append(pending)
        return True

    def take_pending(self) -> list[PendingRequest]:
        """Take all requests that wait; the caller holds again those that are to wait longer."""
        pending, self._pending = self._pending, []
        return pending

    def claim(self, pending: PendingRequest) -> None:
        """Move the sequences of a request to it, as far as they have come, as they began."""
        claimed = self._unclaimed.pop((pending.source, pending.captured.number), [])
        if claimed:
            self._unclaimed_sequences -= len(claimed)
            pending.sequences = sorted(pending.sequences + claimed, key=_index)


def _index(sequence: FinishedSequence) -> int:
    return sequence.index
