"""A finished sequence of the engine: when it was queued, prefilled and decoded, and its tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# The parts and the whole come from different clock reads.
_MAX_EXCESS_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class FinishedSequence:
    """One finished sequence. Durations are in seconds.

    vLLM reports durations only, on the engine's monotonic clock. `finished_at` is the API
    server's wall clock when the last token arrived; the other times are derived backwards
    from it.
    """

    request_id: str
    engine: int
    finished_at: float
    e2e: float
    queued: float
    prefill: float
    decode: float
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    preemptions: int
    finish_reason: str

    @property
    def first_token_at(self) -> float:
        """When the first token arrived, in wall-clock seconds."""
        return self.finished_at - self.decode

    @property
    def scheduled_at(self) -> float:
        """When the sequence was first scheduled, in wall-clock seconds."""
        return self.first_token_at - self.prefill

    @property
    def queued_at(self) -> float:
        """When the engine queued the sequence, in wall-clock seconds."""
        return self.scheduled_at - self.queued

    @property
    def is_plausible(self) -> bool:
        """Whether the durations can be true.

        A sequence that ended before it was scheduled has event times of zero. Its durations
        are then negative, or as long as the machine's uptime.
        """
        phases = (self.queued, self.prefill, self.decode)
        return min(phases) >= 0 and sum(phases) <= self.e2e + _MAX_EXCESS_SECONDS
