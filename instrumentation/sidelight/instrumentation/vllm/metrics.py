"""Engine metrics, added up step by step in plain numbers.

An instrument of the OpenTelemetry SDK costs 5 to 10 µs for each measurement, and a step has
ten of them. This module takes about 3 µs for the whole step; `export.metrics` converts the
sums to OpenTelemetry's data model only when they are sent. Sums are cumulative from the start
of the process.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sidelight import conventions as names
from sidelight.instrumentation.vllm.steps import EngineStep

# After a longer pause between two steps the engine slept or was stopped; it is not a duration.
MAX_STEP_SECONDS: Final = 60.0

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
    """Sums over the steps of one engine. `attributes` label all of its data points."""

    def __init__(self, attributes: Attributes) -> None:
        self._attributes = attributes
        self._duration = _distribution(names.ENGINE_STEP_DURATION)
        self._batch = _distribution(names.ENGINE_BATCH_SIZE)
        self._tokens = _distribution(names.ENGINE_BATCH_TOKENS)
        self._waiting = _distribution(names.ENGINE_WAITING)
        self._steps = self._preemptions = self._queries = self._hits = 0
        # Seconds spent at a KV-cache use of at most the bucket's bound and above the one before.
        self._kv_seconds = [0.0] * len(names.SHARE_BUCKETS)
        self._last: EngineStep | None = None
        self._last_at = 0.0

    def add(self, step: EngineStep) -> None:
        """Count one step."""
        self._steps += 1
        self._preemptions += step.preemptions
        self._tokens.add(step.prompt_tokens + step.generation_tokens)
        last, since = self._last, step.at - self._last_at
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
        self._last = step

    def data_points(self) -> Iterator[DataPoint]:
        """All data points of the engine. Gauges are left out until the scheduler has reported."""
        attributes = self._attributes
        for metric, value in (
            (names.ENGINE_STEPS, self._steps),
            (names.ENGINE_PREEMPTIONS, self._preemptions),
            (names.ENGINE_PREFIX_QUERIES, self._queries),
            (names.ENGINE_PREFIX_HITS, self._hits),
            (names.ENGINE_STEP_DURATION, self._duration),
            (names.ENGINE_BATCH_SIZE, self._batch),
            (names.ENGINE_BATCH_TOKENS, self._tokens),
            (names.ENGINE_WAITING, self._waiting),
        ):
            yield DataPoint(metric, attributes, value)
        seconds = 0.0
        for bound, spent in zip(names.SHARE_BUCKETS, self._kv_seconds, strict=True):
            seconds += spent
            yield DataPoint(names.ENGINE_KV_USAGE_TIME, {**attributes, "le": f"{bound:g}"}, seconds)
        if self._last is not None:
            yield DataPoint(names.ENGINE_RUNNING_NOW, attributes, self._last.running or 0)
            yield DataPoint(names.ENGINE_WAITING_NOW, attributes, self._last.waiting or 0)
            yield DataPoint(names.ENGINE_KV_USAGE, attributes, self._last.kv_usage or 0.0)
