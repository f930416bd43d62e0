"""Brings requests and the sequences that the engine made of them together, by their ids.

The engine names its sequences after the id in the request's answer (`chatcmpl-…`). It reports
a finished sequence just before the last bytes of the answer are sent, so its statistics are
nearly always here when the request ends. Where they are not, the request waits for them.

There is no clock, thread or I/O in here.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from sidelight.instrumentation.vllm.parse.facts import AnswerFacts, RequestFacts
from sidelight.instrumentation.vllm.records import CapturedRequest
from sidelight.instrumentation.vllm.sequences import FinishedSequence

# Ids whose sequences no request has claimed, as those of another API server's requests.
MAX_UNCLAIMED_IDS: Final = 8_192
# A client that repeats its X-Request-Id and leaves each time never claims its sequences.
MAX_SEQUENCES_PER_ID: Final = 256
MAX_PENDING_REQUESTS: Final = 2_048


@dataclass(slots=True)
class PendingRequest:
    """A request that is over, and the sequences that it has claimed so far.

    `deadline` is when it stops waiting for more of them, on the caller's clock in seconds.
    """

    captured: CapturedRequest
    request: RequestFacts
    answer: AnswerFacts
    deadline: float
    sequences: list[FinishedSequence] = field(default_factory=list)

    @property
    def is_complete(self) -> bool:
        """Whether it has all of its sequences, or as many as are ever kept."""
        return len(self.sequences) >= min(self.request.sequences, MAX_UNCLAIMED_IDS)


class Correlator:
    """Holds sequences that wait for their request, and requests that wait for their sequences."""

    def __init__(self) -> None:
        self._unclaimed: OrderedDict[str, list[FinishedSequence]] = OrderedDict()
        self._pending: list[PendingRequest] = []

    @property
    def has_pending(self) -> bool:
        """Whether a request waits."""
        return bool(self._pending)

    def add_sequence(self, sequence: FinishedSequence) -> None:
        """Keep a sequence for its request. The oldest ids are dropped beyond the bound."""
        same_id = self._unclaimed.setdefault(sequence.request_id, [])
        if len(same_id) < MAX_SEQUENCES_PER_ID:
            same_id.append(sequence)
        if len(self._unclaimed) > MAX_UNCLAIMED_IDS:
            self._unclaimed.popitem(last=False)

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
        """Move the sequences of a request to it, as far as they have come."""
        answer_id, pattern = pending.answer.id, pending.captured.route.children
        if answer_id is None:
            return
        pending.sequences += self._unclaimed.pop(answer_id, ())
        if pattern is None:
            return
        if pending.request.prompts > len(self._unclaimed):
            self._claim_by_prefix(pending, pattern.format(id=answer_id, index=""))
        else:
            self._claim_by_index(pending, answer_id, pattern)

    def _claim_by_prefix(self, pending: PendingRequest, prefix: str) -> None:
        # A client may send a list of any number of prompts. Walking over what is unclaimed
        # bounds the work.
        id_by_index = {
            int(suffix): sequence_id
            for sequence_id in self._unclaimed
            if sequence_id.startswith(prefix) and (suffix := sequence_id[len(prefix) :]).isdecimal()
        }
        for _, sequence_id in sorted(id_by_index.items()):
            pending.sequences += self._unclaimed.pop(sequence_id)

    def _claim_by_index(self, pending: PendingRequest, answer_id: str, pattern: str) -> None:
        # Responses make more sequences than the request has prompts: one for each turn.
        for index in count():
            sequences = self._unclaimed.pop(pattern.format(id=answer_id, index=index), ())
            pending.sequences += sequences
            if not sequences and index >= pending.request.prompts - 1:
                return
