"""What the engine did step by step, kept for a while so that a request can say what it met."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from math import isnan, nan
from typing import Any, Final, NamedTuple

# At 10 ms a step, five and a half minutes.
CAPACITY: Final = 32_768
# Where API servers share an engine, most steps lack the scheduler's figures.
_LOOK_BACK_STEPS: Final = 64


# The fields of an `EngineStep` in their order, as they are handed from thread to thread.
StepFields = tuple[float, int | None, int | None, float | None, int, int, int, int, int, int]


class EngineStep(NamedTuple):
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


class EngineConditions(NamedTuple):
    """What a request met between being queued and its last token; None where unknown."""

    steps: int
    steps_with_prefill: int
    batch_mean: float | None
    batch_max: int | None
    waiting_at_arrival: int | None
    kv_usage_at_admission: float | None
    kv_usage_peak: float | None


class StepHistory:
    """A bounded ring of steps of one engine, in the order of their times.

    Steps are kept as columns of plain numbers. Tens of thousands of objects would be visited
    by the garbage collector of vLLM's process, whose full collections take a third of a second
    and come the sooner the more objects live on.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._at = array("d")
        # Unknown is NaN in these three.
        self._batch = array("d")
        self._waiting = array("d")
        self._kv_usage = array("d")
        self._prompt_tokens = array("q")
        self._columns: tuple[array[Any], ...] = (
            self._at, self._batch, self._waiting, self._kv_usage, self._prompt_tokens,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self._at)

    def add(self, step: EngineStep) -> None:
        """Append a step; the oldest ones go once twice the capacity is reached."""
        if self._at and step.at < self._at[-1]:
            # The wall clock was set back: steps before it can no longer be looked up.
            for column in self._columns:
                del column[:]
        batch = step.batch
        self._at.append(step.at)
        self._batch.append(nan if batch is None else batch)
        self._waiting.append(nan if step.waiting is None else step.waiting)
        self._kv_usage.append(nan if step.kv_usage is None else step.kv_usage)
        self._prompt_tokens.append(step.prompt_tokens)
        if len(self._at) >= 2 * self._capacity:
            for column in self._columns:
                del column[: -self._capacity]

    def met(
        self, queued: float, scheduled: float, first_token: float, end: float
    ) -> EngineConditions:
        """What a request with these times (wall-clock seconds, ascending) met.

        A step belongs to the request if it ended after the request was scheduled and not after
        its last token. Steps that carried others' prompts are counted after the step of the
        first token, which carried the request's own.
        """
        low, high = bisect_right(self._at, scheduled), bisect_right(self._at, end)
        batches = _known(self._batch[low:high])
        usages = _known(self._kv_usage[low:high])
        at_admission = _last(self._kv_usage, low)
        if at_admission is not None:
            usages.append(at_admission)
        waiting = _last(self._waiting, bisect_right(self._at, queued))
        decoding = self._prompt_tokens[self._nearest(first_token) + 1 : high]
        return EngineConditions(
            steps=max(0, high - low),
            steps_with_prefill=len(decoding) - decoding.count(0),
            batch_mean=sum(batches) / len(batches) if batches else None,
            batch_max=int(max(batches)) if batches else None,
            waiting_at_arrival=None if waiting is None else int(waiting),
            kv_usage_at_admission=at_admission,
            kv_usage_peak=max(usages) if usages else None,
        )

    def _nearest(self, at: float) -> int:
        # Times of a request are reckoned back from its end and miss its steps by the jitter
        # of the way from the engine.
        index = bisect_right(self._at, at)
        if 0 < index < len(self._at):
            return index - 1 if at - self._at[index - 1] <= self._at[index] - at else index
        return min(index, len(self._at) - 1)


def _known(column: array[float]) -> list[float]:
    return [value for value in column if not isnan(value)]


def _last(column: array[float], before: int) -> float | None:
    """The newest known value before an index, among the last ones there."""
    known = _known(column[max(0, before - _LOOK_BACK_STEPS) : before])
    return known[-1] if known else None
