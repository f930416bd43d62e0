"""Engine metrics, added up step by step in plain numbers.

An instrument of the OpenTelemetry SDK costs 5 to 10 µs for each measurement, and a step has
ten of them. This module takes about 3 µs for the whole step; `export.metrics` converts the
sums to OpenTelemetry's data model only when they are sent. Sums are cumulative from the start
of the process.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Final

from sidelight import conventions as names
from sidelight.instrumentation.vllm.heartbeat import step_age
from sidelight.instrumentation.vllm.steps import EngineStep

# After a longer pause between two steps the engine slept or was stopped; it is not a duration.
MAX_STEP_SECONDS: Final = 60.0
# The names of adapters are bounded by nothing; further ones are counted as `OTHER`.
MAX_ADAPTERS: Final = 32
OTHER: Final = "other"
_REASONS: Final = frozenset({"stop", "length", "abort", "error", "repetition"})

Attributes = dict[str, str | int]


class Distribution:
    """A histogram with upper-inclusive bounds."""

    __slots__ = ("bounds", "counts", "maximum", "minimum", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0
        self.minimum = float("inf")
        self.maximum = float("-inf")

    def add(self, value: float) -> None:
        """Count one value."""
        self.total += value
        if value < self.minimum:
            self.minimum = value
        if value > self.maximum:
            self.maximum = value
        # Last, because the export thread may read in between: it must never see a value counted
        # before it is in the sum and the maximum.
        self.counts[bisect_left(self.bounds, value)] += 1


@dataclass(frozen=True, slots=True)
class DataPoint:
    """One data point: a metric of `conventions`, its attributes, and its value so far."""

    metric: str
    attributes: Attributes
    value: float | Distribution


def _distribution(metric: str) -> Distribution:
    return Distribution(names.METRICS[metric].buckets)


class EngineMetrics:
    """Sums over the steps of one engine. `attributes` label all of its data points.

    `limits` are gauges that do not change while the engine runs, by metric. `clock` gives
    monotonic seconds, as the steps have them.
    """

    def __init__(
        self,
        attributes: Attributes,
        limits: Mapping[str, float] | None = None,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._attributes = attributes
        self._limits = dict(limits or {})
        self._clock = clock
        self._duration = _distribution(names.ENGINE_STEP_DURATION)
        self._batch = _distribution(names.ENGINE_BATCH_SIZE)
        self._tokens = _distribution(names.ENGINE_BATCH_TOKENS)
        self._waiting = _distribution(names.ENGINE_WAITING)
        self._eviction_age = _distribution(names.ENGINE_EVICTION_AGE)
        self._steps = self._preemptions = self._queries = self._hits = 0
        self._external_queries = self._external_hits = 0
        self._draft_tokens = self._accepted_tokens = 0
        self._finished: Counter[str] = Counter()
        self._adapters: dict[str, None] = {}
        self._awake = True
        # Seconds spent at a KV-cache use of at most the bucket's bound and above the one before.
        self._kv_seconds = [0.0] * len(names.SHARE_BUCKETS)
        self._last: EngineStep | None = None
        self._last_at: float | None = None

    @property
    def last_step_at(self) -> float | None:
        """When the last step ended; None before the first."""
        return self._last_at

    def add(self, step: EngineStep) -> None:
        """Count one step."""
        self._steps += 1
        self._preemptions += step.preemptions
        self._tokens.add(step.prompt_tokens + step.generation_tokens)
        last, since = self._last, step.at - (self._last_at or 0.0)
        # The time counts only if the last step left something running. Otherwise the engine
        # was idle in between.
        if last is not None and last.running and 0.0 < since <= MAX_STEP_SECONDS:
            self._duration.add(since)
            bucket = bisect_left(names.SHARE_BUCKETS, min(last.kv_usage or 0.0, 1.0))
            self._kv_seconds[bucket] += since
        self._last_at = step.at
        if step.running is None:
            return
        self._batch.add(step.running + step.finished)
        self._waiting.add(step.waiting or 0)
        self._queries += step.prefix_queries
        self._hits += step.prefix_hits
        self._external_queries += step.external_queries
        self._external_hits += step.external_hits
        self._draft_tokens += step.draft_tokens
        self._accepted_tokens += step.accepted_tokens
        for age in step.evicted:
            self._eviction_age.add(age)
        for name, _, _ in step.lora:
            if len(self._adapters) < MAX_ADAPTERS:
                self._adapters.setdefault(name)
        self._last = step

    def finish(self, reason: str) -> None:
        """Count a sequence that ended, however it did."""
        self._finished[reason if reason in _REASONS else OTHER] += 1

    def sleep(self, awake: bool) -> None:
        """Note that the engine was put to sleep or paused, or goes on."""
        self._awake = awake

    def data_points(self) -> Iterator[DataPoint]:
        """All data points of the engine. Gauges are left out until the scheduler has reported."""
        attributes = self._attributes
        sums: tuple[tuple[str, float | Distribution], ...] = (
            (names.ENGINE_STEPS, self._steps),
            (names.ENGINE_PREEMPTIONS, self._preemptions),
            (names.ENGINE_PREFIX_QUERIES, self._queries),
            (names.ENGINE_PREFIX_HITS, self._hits),
            (names.ENGINE_EXTERNAL_QUERIES, self._external_queries),
            (names.ENGINE_EXTERNAL_HITS, self._external_hits),
            (names.ENGINE_DRAFT_TOKENS, self._draft_tokens),
            (names.ENGINE_ACCEPTED_TOKENS, self._accepted_tokens),
            (names.ENGINE_STEP_DURATION, self._duration),
            (names.ENGINE_BATCH_SIZE, self._batch),
            (names.ENGINE_BATCH_TOKENS, self._tokens),
            (names.ENGINE_WAITING, self._waiting),
            (names.ENGINE_EVICTION_AGE, self._eviction_age),
            *self._limits.items(),
        )
        for metric, value in sums:
            yield DataPoint(metric, attributes, value)
        for reason, count in list(self._finished.items()):
            yield DataPoint(names.ENGINE_FINISHED, {**attributes, "reason": reason}, count)
        seconds = 0.0
        for bound, spent in zip(names.SHARE_BUCKETS, self._kv_seconds, strict=True):
            seconds += spent
            yield DataPoint(names.ENGINE_KV_USAGE_TIME, {**attributes, "le": f"{bound:g}"}, seconds)
        yield DataPoint(names.ENGINE_AWAKE, attributes, int(self._awake))
        if self._last is not None:
            yield from self._gauges(self._last)

    def _gauges(self, last: EngineStep) -> Iterator[DataPoint]:
        attributes = self._attributes
        has_work = bool(last.running or last.waiting) and self._awake
        age = step_age(self._clock(), self._last_at, last.at if has_work else None)
        gauges: tuple[tuple[str, float], ...] = (
            (names.ENGINE_RUNNING_NOW, last.running or 0),
            (names.ENGINE_WAITING_NOW, last.waiting or 0),
            (names.ENGINE_DEFERRED_NOW, last.deferred),
            (names.ENGINE_KV_USAGE, last.kv_usage or 0.0),
            (names.ENGINE_STEP_AGE, age),
        )
        for metric, value in gauges:
            yield DataPoint(metric, attributes, value)
        # Adapters that were seen before and have no request now show as 0.
        states = dict.fromkeys(self._adapters, (0, 0))
        for name, running, waiting in last.lora:
            shown = name if name in self._adapters else OTHER
            before = states.get(shown, (0, 0))
            states[shown] = (before[0] + running, before[1] + waiting)
        for name, counts in states.items():
            for state, count in zip(("running", "waiting"), counts, strict=True):
                labels = {**attributes, names.LORA_NAME: name, "state": state}
                yield DataPoint(names.ENGINE_LORA_REQUESTS, labels, count)
