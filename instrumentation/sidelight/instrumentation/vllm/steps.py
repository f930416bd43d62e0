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

# The fields of an `EngineStep` in their order, as they are handed over.
StepFields = tuple[Any, ...]


class EngineStep(NamedTuple):
    """One engine step as vLLM told of it. `at` is in seconds of the monotonic clock.

    `running`, `waiting` (requests) and `kv_usage` (a share from 0 to 1) describe the moment
    after the step. They are None where vLLM gave the scheduler's figures to another API
    server. `finished` counts the sequences that finished in this step and so were in its batch.

    `decoding` counts the requests that got a token after their first (None: unknown), and
    `prefilled` those that got their first; `prompt_tokens` were computed for the latter.
    `preemptions` counts the preempted requests that got a token again. Of the `waiting`,
    `deferred` wait for something other than capacity, and `fetching` for their KV.
    `external_*` are tokens looked up and found by a KV connector, `draft_tokens` and
    `accepted_tokens` those of speculative decoding. `evicted` holds the age in seconds of each
    KV block that was evicted (sampled by vLLM). `lora` holds an adapter's name and its running
    and waiting requests.
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
    decoding: int | None = None
    prefilled: int = 0
    deferred: int = 0
    fetching: int = 0
    external_queries: int = 0
    external_hits: int = 0
    draft_tokens: int = 0
    accepted_tokens: int = 0
    evicted: tuple[float, ...] = ()
    lora: tuple[tuple[str, int, int], ...] = ()

    @property
    def batch(self) -> int | None:
        """Requests that shared the step."""
        return None if self.running is None else self.running + self.finished

    @property
    def partly_prefilled(self) -> int:
        """Requests of the batch that got no token: most are in the middle of their prompt."""
        if self.batch is None or self.decoding is None:
            return 0
        return max(0, self.batch - self.decoding - self.prefilled)

    @property
    def has_prompts(self) -> bool:
        """Whether a prompt was completed in the step, or that of a preempted request again."""
        return bool(self.prefilled or self.prompt_tokens or self.preemptions)

    @property
    def decodes_only(self) -> bool:
        """Whether each request of the batch got a token after its first."""
        return bool(self.decoding) and self.decoding == self.batch and not self.has_prompts


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
        # NaN means unknown in these four.
        self._batch = array("d")
        self._waiting = array("d")
        self._kv_usage = array("d")
        self._decoding = array("d")
        self._prompt_tokens = array("q")
        self._prefilled = array("q")
        self._preemptions = array("q")
        self._deferred = array("q")
        self._fetching = array("q")
        self._finished = array("q")
        self._columns: tuple[array[Any], ...] = (
            self._at, self._batch, self._waiting, self._kv_usage, self._decoding,
            self._prompt_tokens, self._prefilled, self._preemptions, self._deferred,
            self._fetching, self._finished,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self._at)

    def add(self, step: EngineStep) -> None:
        """Add a step. The oldest half is dropped when twice the capacity is reached.

        Raises `TypeError` for a step with something else than numbers, which is not added.
        """
        # Several API servers report the steps of one engine, so they may come out of order.
        index = bisect_right(self._at, step.at)
        count = len(self._at)
        try:
            for column, value in zip(self._columns, _row(step), strict=True):
                column.insert(index, value)
        except BaseException:
            # A row in part would move the figures of all later steps.
            for column in self._columns:
                if len(column) > count:
                    del column[index]
            raise
        if len(self._at) >= 2 * self._capacity:
            for column in self._columns:
                del column[: -self._capacity]

    def before(self, at: float) -> EngineStep | None:
        """The newest step that ended not after `at`, as `between` gives it."""
        index = bisect_right(self._at, at) - 1
        return self._steps(index, index + 1)[0] if index >= 0 else None

    def last(self, count: int) -> list[EngineStep]:
        """The newest steps, at most `count`, as `between` gives them."""
        return self._steps(max(0, len(self._at) - count), len(self._at))

    def between(self, start: float, end: float) -> list[EngineStep]:
        """The steps that ended after `start` and not after `end`, in the order of their times.

        They have what the delay of requests is found from; other figures are 0.
        """
        return self._steps(bisect_right(self._at, start), bisect_right(self._at, end))

    def _steps(self, low: int, high: int) -> list[EngineStep]:
        rows = zip(*(column[low:high] for column in self._columns), strict=True)
        return [_step(row) for row in rows]

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


def _row(step: EngineStep) -> tuple[float, ...]:
    batch = step.batch
    return (
        step.at,
        nan if batch is None else batch,
        nan if step.waiting is None else step.waiting,
        nan if step.kv_usage is None else step.kv_usage,
        nan if step.decoding is None else step.decoding,
        step.prompt_tokens,
        step.prefilled,
        step.preemptions,
        step.deferred,
        step.fetching,
        step.finished,
    )


def _step(row: tuple[Any, ...]) -> EngineStep:
    at, batch, waiting, kv_usage, decoding, prompt, prefilled, preemptions, *rest = row
    deferred, fetching, finished = rest
    # By position, and NaN by not being equal to itself: this is done for each step of a request.
    return EngineStep(
        at,
        int(batch) - finished if batch == batch else None,
        int(waiting) if waiting == waiting else None,
        kv_usage if kv_usage == kv_usage else None,
        prompt,
        0,
        preemptions,
        0,
        0,
        finished,
        int(decoding) if decoding == decoding else None,
        prefilled,
        deferred,
        fetching,
    )


def _known(column: array[float]) -> list[float]:
    return [value for value in column if not isnan(value)]


def _last(column: array[float], before: int) -> float | None:
    """The newest known value before the index `before`; None if it lies too far back."""
    known = _known(column[max(0, before - MAX_STEPS_LOOKED_BACK) : before])
    return known[-1] if known else None
