"""The phases of a request, without holes: from its arrival to the last byte of its answer."""

from __future__ import annotations

from typing import Final, NamedTuple

from sidelight.instrumentation.vllm.sequences import FinishedSequence

PHASES: Final = ("frontend", "queue", "prefill", "decode", "delivery")


class Timeline(NamedTuple):
    """The edges of the phases, in ascending order: seconds of the monotonic clock."""

    start: float
    queued: float
    scheduled: float
    first_token: float
    last_token: float
    end: float

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds by phase. They add up to the request."""
        return {
            phase: later - earlier
            for phase, earlier, later in zip(PHASES, self[:-1], self[1:], strict=True)
        }


def timeline(start: float, end: float, sequence: FinishedSequence) -> Timeline:
    """The phases of a sequence within its request, which lasts from `start` to `end`.

    A sequence that ended early was until then in the phase that it had reached. Of one that was
    aborted before its first token the engine told nothing: it is in `queue` from its arrival.
    """
    queued = sequence.arrival if sequence.queued is None else sequence.queued
    # The step that was running when the client left belongs to decoding, not to delivery.
    last_token = None if sequence.aborted else sequence.last_token
    reached = (queued, sequence.scheduled, sequence.first_token, last_token)
    edges = [start, *(sequence.finished if at is None else at for at in reached), end]
    # Times of several processes and clock reads: none may lie before the one that it follows.
    for index in range(1, len(edges)):
        edges[index] = min(max(edges[index], edges[index - 1]), max(start, end))
    return Timeline(*edges)


def has_phases(sequence: FinishedSequence) -> bool:
    """Whether its phases are known: it came to its end, or the engine told of none yet."""
    return sequence.is_timed or sequence.first_token is None


def last_seen(sequence: FinishedSequence) -> float:
    """When its last token came, or it ended without one. A request waits for the latest."""
    return sequence.finished if sequence.last_token is None else sequence.last_token
