"""Engine steps, kept for some minutes, and the engine conditions that a request met in them."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from math import isnan, nan
from typing import Any, Final, NamedTuple

from sidelight.instrumentation.vllm.sequences import FinishedSequence

# At 10 ms a step, five and a half minutes.
MAX_STEPS: Final = 32_768
# Where API servers share an engine, most steps lack the scheduler's figures.
MAX_STEPS_LOOKED_BACK: Final = 64

# The fields of an `EngineStep` in their order, as they are handed from thread to thread.
StepFields = tuple[float, int | None, int | None, float | None, int, int, int, int, int, int]


class EngineStep(NamedTuple):
    """One engine step as the stat logger saw it. `at` is in seconds of the monotonic clock.

    `running`, `waiting` (requests) and `kv_usage` (a share from 0 to 1) describe the moment
    after the step. They are None where vLLM gave the scheduler's figures to another API
    server. `finished` counts the sequences that finished in this step and so were in its batch.
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
    """What a request met between being queued and its last token.

    `steps_with_prefill` counts the decode steps that also carried other requests' prompt
    tokens. `kv_usage_*` are shares from 0 to 1. None means unknown.
    """

    steps: int
    steps_with_prefill: int
    batch_mean: float | None
    batch_max: int | None
    waiting_at_arrival: int | None
    kv_usage_at_admission: float | None
    kv_usage_peak: float | None


UNKNOWN_CONDITIONS: Final = EngineConditions(0, 0, None, None, None, None, None)


class StepHistory:
    """The newest steps of one engine, in the order of their times.

    Steps are kept as columns of plain numbers. As objects, tens of thousands of them would be
    visited by the garbage collector of vLLM's process, whose full collections take a third of
    a second and come the sooner, the more objects survive.
    """

    def __init__(self, capacity: int = MAX_STEPS) -> None:
        self._capacity = capacity
        self._at = array("d")
        # NaN means unknown in these three.
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
        """Add a step. The oldest half is dropped when twice the capacity is reached."""
        batch = step.batch
        # Several API servers report the steps of one engine, so they may come out of order.
        index = bisect_right(self._at, step.at)
        self._at.insert(index, step.at)
        self._batch.insert(index, nan if batch is None else batch)
        self._waiting.insert(index, nan if step.waiting is None else step.waiting)
        self._kv_usage.insert(index, nan if step.kv_usage is None else step.kv_usage)
        self._prompt_tokens.insert(index, step.prompt_tokens)
        if len(self._at) >= 2 * self._capacity:
            for column in self._columns:
                del column[: -self._capacity]

    def conditions_of(self, sequence: FinishedSequence) -> EngineConditions:
        """The conditions that a sequence met; unknown if its times are."""
        queued, scheduled = sequence.queued, sequence.scheduled
        first_token, last_token = sequence.first_token, sequence.last_token
        if queued is None or scheduled is None or first_token is None or last_token is None:
            return UNKNOWN_CONDITIONS
        return self.conditions(queued, scheduled, first_token, last_token)

    def conditions(
        self, queued: float, scheduled: float, first_token: float, end: float
    ) -> EngineConditions:
        """The conditions between these times, which are monotonic seconds and ascend.

        A step counts if it ended after the request was scheduled and not after its last token.
        Steps with prefill are counted only after the step of the first token, because that
        step carried the request's own prompt.
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
        # A request's times are derived backwards from its end, so they miss the times of its
        # steps by the jitter of the transport from the engine.
        index = bisect_right(self._at, at)
        if 0 < index < len(self._at):
            return index - 1 if at - self._at[index - 1] <= self._at[index] - at else index
        return min(index, len(self._at) - 1)


def _known(column: array[float]) -> list[float]:
    return [value for value in column if not isnan(value)]


def _last(column: array[float], before: int) -> float | None:
    """The newest known value before the index `before`; None if it lies too far back."""
    known = _known(column[max(0, before - MAX_STEPS_LOOKED_BACK) : before])
    return known[-1] if known else None
