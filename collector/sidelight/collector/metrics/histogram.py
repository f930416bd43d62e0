"""A histogram whose buckets lead to traces, cheap enough to observe every request.

prometheus_client's takes 4 µs for an observation with an exemplar and 4 µs for each line of
/metrics, which at 500 label sets stops the event loop for 0.1 s. This one takes a fifth of both.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence

from sidelight.collector.metrics.family import Family, Series, labels_text
from sidelight.otlp.prometheus.values import Exemplar, HistogramValue


class HistogramSeries:
    """One label set's buckets; the newest exemplar of each is kept."""

    __slots__ = ("_bounds", "_counts", "_exemplars", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._exemplars: dict[int, tuple[bytes, bytes, float, float]] = {}

    def observe(self, value: float, trace_id: bytes = b"", span_id: bytes = b"") -> None:
        """Count one value, and remember the span in which it was seen, if one is named."""
        bucket = bisect_left(self._bounds, value)
        self._counts[bucket] += 1
        self._sum += value
        if trace_id:
            # The time of the observation: Prometheus drops exemplars that go back in time.
            self._exemplars[bucket] = (trace_id, span_id, value, time.time())

    def value(self) -> HistogramValue:
        """The buckets as they stand now; the counts are those that go on counting."""
        exemplars: dict[int, tuple[Exemplar, ...]] = {
            bucket: (Exemplar(trace_id.hex(), span_id.hex(), value, seconds),)
            for bucket, (trace_id, span_id, value, seconds) in self._exemplars.items()
        }
        return HistogramValue(self._bounds, self._counts, self._sum, exemplars)


class Histogram:
    """A histogram with labels, for use in one thread. Its user bounds the label sets."""

    def __init__(
        self, name: str, meaning: str, bounds: tuple[float, ...], label_names: Sequence[str]
    ) -> None:
        self._name = name
        self._meaning = meaning
        self._bounds = bounds
        self._label_names = tuple(label_names)
        self._series: dict[tuple[str, ...], HistogramSeries] = {}

    def labels(self, *values: str) -> HistogramSeries:
        """The series of a label set (a value for each label), made when it is first used.

        Raises `ValueError` if there are not as many values as labels.
        """
        series = self._series.get(values)
        if series is None:
            if len(values) != len(self._label_names):
                raise ValueError(f"{self._name} has the labels {self._label_names}")
            series = self._series[values] = HistogramSeries(self._bounds)
        return series

    def family(self) -> Family:
        """All label sets as they stand now; empty labels are left out."""
        shown = [
            Series(
                labels_text({n: v for n, v in zip(self._label_names, values, strict=True) if v}),
                series.value(),
            )
            for values, series in self._series.items()
        ]
        return Family(self._name, "histogram", self._meaning, shown)
