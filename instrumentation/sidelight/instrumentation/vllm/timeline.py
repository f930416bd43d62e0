"""What the engine did step by step, kept for a while so that a request can say what it met."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final, NamedTuple

# At 10 ms a step, five and a half minutes.
CAPACITY: Final = 32_768


class Step(NamedTuple):
    """One engine step as the stat logger saw it; `at` is wall-clock seconds.

    `running`, `waiting` and `kv_usage` describe the moment after the step and are None where
    the scheduler's figures went to another API server. `finished` counts sequences that ended
    in this step and so were part of its batch.
    """

    at: float
    running: int | None
    waiting: int | None
    kv_usage: float | None
    prompt_tokens: int
    generation_tokens: int
    preemptions: int
    prefix_queries: int
    prefix_hits: int
    finished: int

    @property
    def batch(self) -> int | None:
        """Requests that shared the step."""
        return None if self.running is None else self.running + self.finished


class Met(NamedTuple):
    """What a request met between being queued and its last token; None where unknown."""

    steps: int
    steps_with_prefill: int
    batch_mean: float | None
    batch_max: int | None
    waiting_at_arrival: int | None
    kv_usage_at_admission: float | None
    kv_usage_peak: float | None


class Timeline:
    """A bounded ring of steps of one engine, in the order of their times."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._steps: list[Step] = []
        self._times: list[float] = []

    def __len__(self) -> int:
        return len(self._steps)

    def add(self, step: Step) -> None:
        """Append a step; the oldest ones go once twice the capacity is reached."""
        if self._steps and step.at < self._steps[-1].at:
            # The wall clock was set back: steps before it can no longer be looked up.
            self._steps.clear()
            self._times.clear()
        self._steps.append(step)
        self._times.append(step.at)
        if len(self._steps) >= 2 * self._capacity:
            del self._steps[: -self._capacity]
            del self._times[: -self._capacity]

    def met(self, queued: float, scheduled: float, first_token: float, end: float) -> Met:
        """What a request with these times (wall-clock seconds, ascending) met.

        A step belongs to the request if it ended after the request was scheduled and not after
        its last token. Steps that carried others' prompts are counted after the step of the
        first token, which carried the request's own.
        """
        low, high = self._after(scheduled), self._after(end)
        steps = self._steps[low:high]
        batches = [step.running + step.finished for step in steps if step.running is not None]
        usages = [step.kv_usage for step in steps if step.kv_usage is not None]
        admission = self._before(low)
        arrival = self._before(self._after(queued))
        at_admission = admission.kv_usage if admission else None
        if at_admission is not None:
            usages.append(at_admission)
        decoding = self._nearest(first_token) + 1
        return Met(
            steps=len(steps),
            steps_with_prefill=sum(1 for s in self._steps[decoding:high] if s.prompt_tokens),
            batch_mean=sum(batches) / len(batches) if batches else None,
            batch_max=max(batches, default=None),
            waiting_at_arrival=arrival.waiting if arrival else None,
            kv_usage_at_admission=at_admission,
            kv_usage_peak=max(usages, default=None),
        )

    def _after(self, at: float) -> int:
        return bisect_right(self._times, at)

    def _nearest(self, at: float) -> int:
        # Times of a request are reckoned back from its end and miss its steps by the jitter
        # of the way from the engine.
        index = self._after(at)
        if 0 < index < len(self._steps):
            before, after = self._steps[index - 1].at, self._steps[index].at
            return index - 1 if at - before <= after - at else index
        return min(index, len(self._steps) - 1)

    def _before(self, index: int) -> Step | None:
        # A step without the scheduler's figures says nothing about the state.
        for position in range(index - 1, max(-1, index - 65), -1):
            if self._steps[position].running is not None:
                return self._steps[position]
        return None
