"""A sequence that the engine has ended: its times, its tokens, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

# In seconds, between two times of one clock that are noted in the wrong order.
CLOCK_TOLERANCE: Final = 1.0

SequenceFields = tuple[Any, ...]
"""The fields of a `FinishedSequence` in their order."""


@dataclass(frozen=True, slots=True)
class FinishedSequence:
    """One sequence that finished, was aborted or failed.

    `request_id` is the id in the request's answer, or one derived from it. Times are seconds of
    the monotonic clock, which all processes of a host share: of the API server for `arrival` and
    `finished`, of the engine for the others. None means that the sequence did not get so far, or
    that the time is not known: under `--disable-log-stats` the engine does not tell when it
    queued and scheduled a sequence.

    `generated_tokens` and `cached_tokens` count what reached the API server before the end.
    `preempted` holds, for each absence, when the sequence left the batch, when it was scheduled
    again for good, and when its next token came. Several preemptions before one token are one
    absence. It is empty where only the number of preemptions is known.
    `engine` is None if vLLM does not tell which of its engines had the sequence. `request_number`
    is the request's in its API server, and `index` counts the request's sequences as they began.
    `error` is the class of the exception that ended it.
    """

    request_id: str
    engine: int | None
    finish_reason: str
    finished: float
    arrival: float
    queued: float | None = None
    scheduled: float | None = None
    first_token: float | None = None
    last_token: float | None = None
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    preemptions: int = 0
    lora: str | None = None
    preempted: tuple[tuple[float, float, float], ...] = ()
    request_number: int | None = None
    index: int = 0
    error: str | None = None

    @property
    def aborted(self) -> bool:
        """Whether it was ended from outside, as by a client that left."""
        return self.finish_reason == "abort"

    @property
    def is_timed(self) -> bool:
        """Whether the engine reported all of its times."""
        return None not in (self.queued, self.scheduled, self.first_token, self.last_token)

    @property
    def queue_seconds(self) -> float | None:
        """From being queued to being scheduled first."""
        return _between(self.queued, self.scheduled)

    @property
    def prefill_seconds(self) -> float | None:
        """From being scheduled first to the first token."""
        return _between(self.scheduled, self.first_token)

    @property
    def decode_seconds(self) -> float | None:
        """From the first token to the last one."""
        return _between(self.first_token, self.last_token)

    @property
    def e2e_seconds(self) -> float:
        """From its arrival in the API server to its end there."""
        return max(0.0, self.finished - self.arrival)


def read_sequence(fields: SequenceFields) -> FinishedSequence:
    """The sequence with these fields, in the clock of the API server's host.

    An engine on another host has another monotonic clock. Its times are then laid out backwards
    from the moment when the API server got the last token.
    """
    sequence = FinishedSequence(*fields)
    last = sequence.last_token
    if last is None or (
        sequence.arrival - CLOCK_TOLERANCE <= last <= sequence.finished + CLOCK_TOLERANCE
    ):
        return sequence
    shift = sequence.finished - last

    def shifted(at: float | None) -> float | None:
        return None if at is None else at + shift

    return replace(
        sequence,
        queued=shifted(sequence.queued),
        scheduled=shifted(sequence.scheduled),
        first_token=shifted(sequence.first_token),
        last_token=sequence.finished,
        preempted=tuple(
            (left + shift, back + shift, resumed + shift)
            for left, back, resumed in sequence.preempted
        ),
    )


def _between(start: float | None, end: float | None) -> float | None:
    return None if start is None or end is None else max(0.0, end - start)
