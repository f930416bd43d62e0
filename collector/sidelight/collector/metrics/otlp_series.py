"""One series received by OTLP: how points change it, and the lines it makes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Protocol

from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    Exemplar,
    HistogramDataPoint,
    NumberDataPoint,
    SummaryDataPoint,
)

from sidelight.collector.metrics.family import exemplar, number, sample

Point = NumberDataPoint | HistogramDataPoint | SummaryDataPoint

_MOST_BUCKETS = 200


class DroppedPointError(Exception):
    """A point that is not kept; `reason` is a label value."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Series(Protocol):
    """The state of one series; `seen` is when it last changed, on its keeper's clock.

    `is_delta` says whether its points are added up here.
    """

    seen: float
    is_delta: bool

    def __init__(self) -> None: ...

    def update(self, point: Point, *, delta: bool) -> None:
        """Take in a point. Raises `DroppedPointError`; then nothing has changed."""

    def lines(self, name: str, label_text: str, *, exemplars: bool) -> str:
        """Its sample lines; `label_text` is without braces."""


class _Times:
    """Refuses what comes late: a point older than the last, or of a process since restarted."""

    __slots__ = ("_start_ns", "_time_ns", "is_delta", "seen")

    def __init__(self) -> None:
        self.seen = 0.0
        self.is_delta = False
        self._start_ns = 0
        self._time_ns = 0

    def _advance(self, point: Point, *, delta: bool) -> bool:
        """Whether the point begins the series anew (a first point, or a restart)."""
        start_ns, time_ns = point.start_time_unix_nano, point.time_unix_nano
        if time_ns < self._time_ns or (delta and time_ns == self._time_ns):
            raise DroppedPointError("late")
        if not delta and start_ns and start_ns < self._start_ns:
            raise DroppedPointError("late")
        anew = not self._time_ns or (not delta and start_ns > self._start_ns)
        self._start_ns = start_ns
        self._time_ns = time_ns
        return anew


class Number(_Times):
    """A gauge, counter or up-down counter."""

    __slots__ = ("_exemplar", "_value")

    def __init__(self) -> None:
        super().__init__()
        self._value: float = 0
        self._exemplar = ""

    def update(self, point: Point, *, delta: bool) -> None:
        assert isinstance(point, NumberDataPoint)
        kind = point.WhichOneof("value")
        if kind is None:
            raise DroppedPointError("malformed")
        anew = self._advance(point, delta=delta)
        value = point.as_int if kind == "as_int" else point.as_double
        self._value = self._value + value if delta else value
        if anew:
            self._exemplar = ""
        for text, _ in _exemplars(point.exemplars):
            self._exemplar = text

    def lines(self, name: str, label_text: str, *, exemplars: bool) -> str:  # noqa: ARG002 (Series)
        """A gauge's or up-down counter's line."""
        return sample(name, label_text, number(self._value))


class Counter(Number):
    """A monotonic sum."""

    __slots__ = ()

    def lines(self, name: str, label_text: str, *, exemplars: bool) -> str:
        """A counter's line."""
        mark = self._exemplar if exemplars else ""
        return sample(f"{name}_total", label_text, number(self._value), mark)


class Histogram(_Times):
    """A histogram with explicit bounds; the newest exemplar of each bucket is kept."""

    __slots__ = ("_bounds", "_count", "_counts", "_exemplars", "_sum")

    def __init__(self) -> None:
        super().__init__()
        self._bounds: tuple[float, ...] = ()
        self._counts: list[int] = []
        self._count = 0
        self._sum: float | None = None
        self._exemplars: dict[int, str] = {}

    def update(self, point: Point, *, delta: bool) -> None:
        assert isinstance(point, HistogramDataPoint)
        bounds, counts = _buckets(point)
        anew = self._advance(point, delta=delta) or bounds != self._bounds
        total = point.sum if point.HasField("sum") else None
        if anew:
            self._exemplars.clear()
        if delta and not anew:
            self._counts = [old + new for old, new in zip(self._counts, counts, strict=True)]
            self._count += point.count
            self._sum = None if total is None or self._sum is None else self._sum + total
        else:
            self._bounds, self._counts = bounds, counts
            self._count, self._sum = point.count, total
        for text, value in _exemplars(point.exemplars):
            self._exemplars[_bucket(bounds, value)] = text

    def lines(self, name: str, label_text: str, *, exemplars: bool) -> str:
        """Cumulative buckets, count and sum."""
        comma = f"{label_text}," if label_text else ""
        parts = []
        cumulative = 0
        bounds = (*self._bounds, math.inf)
        for index, (bound, count) in enumerate(zip(bounds, self._counts, strict=True)):
            cumulative += count
            mark = self._exemplars.get(index, "") if exemplars else ""
            parts.append(f'{name}_bucket{{{comma}le="{number(bound)}"}} {cumulative}{mark}\n')
        parts.append(sample(f"{name}_count", label_text, str(cumulative)))
        if self._sum is not None:
            parts.append(sample(f"{name}_sum", label_text, number(self._sum)))
        return "".join(parts)


class Summary(_Times):
    """Quantiles that were computed by the sender."""

    __slots__ = ("_count", "_quantiles", "_sum")

    def __init__(self) -> None:
        super().__init__()
        self._quantiles: list[tuple[float, float]] = []
        self._count = 0
        self._sum = 0.0

    def update(self, point: Point, *, delta: bool) -> None:
        assert isinstance(point, SummaryDataPoint)
        quantiles = [(each.quantile, each.value) for each in point.quantile_values]
        if len(quantiles) > _MOST_BUCKETS:
            raise DroppedPointError("too_many_buckets")
        self._advance(point, delta=delta)
        self._quantiles = quantiles
        self._count, self._sum = point.count, point.sum

    def lines(self, name: str, label_text: str, *, exemplars: bool) -> str:  # noqa: ARG002 (Series)
        """Quantiles, count and sum."""
        comma = f"{label_text}," if label_text else ""
        parts = [
            f'{name}{{{comma}quantile="{number(quantile)}"}} {number(value)}\n'
            for quantile, value in self._quantiles
        ]
        parts.append(sample(f"{name}_count", label_text, str(self._count)))
        parts.append(sample(f"{name}_sum", label_text, number(self._sum)))
        return "".join(parts)


def _buckets(point: HistogramDataPoint) -> tuple[tuple[float, ...], list[int]]:
    """Bounds (without infinity) and counts; a point without buckets has the infinite one."""
    bounds, counts = tuple(point.explicit_bounds), list(point.bucket_counts)
    if not bounds and not counts:
        return (), [point.count]
    if len(bounds) > _MOST_BUCKETS:
        raise DroppedPointError("too_many_buckets")
    ascending = all(low < high for low, high in pairwise(bounds))
    if len(counts) != len(bounds) + 1 or not ascending or not all(map(math.isfinite, bounds)):
        raise DroppedPointError("malformed")
    return bounds, counts


def _bucket(bounds: Sequence[float], value: float) -> int:
    """The bucket a value falls into; bounds are inclusive above."""
    for index, bound in enumerate(bounds):
        if value <= bound:
            return index
    return len(bounds)


def _exemplars(points: Iterable[Exemplar]) -> Iterable[tuple[str, float]]:
    """Exemplars with a trace, oldest first: as text, with their value."""
    for point in sorted(points, key=lambda point: point.time_unix_nano):
        if len(point.trace_id) != 16:
            continue
        value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
        pairs = {"trace_id": point.trace_id.hex()}
        if len(point.span_id) == 8:
            pairs["span_id"] = point.span_id.hex()
        yield exemplar(pairs, value, point.time_unix_nano / 1e9), value
