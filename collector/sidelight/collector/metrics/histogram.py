"""A histogram whose buckets lead to traces, cheap enough to observe every request.

prometheus_client's takes 4 µs for an observation with an exemplar and 4 µs for a line when
shown, which at 500 label sets stops the event loop for 0.1 s; this one takes a fifth of both.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Sequence

from sidelight.collector.metrics.family import Family, Series, labels_text
from sidelight.otlp.prometheus.values import Exemplar, HistogramValue


class Cell:
    """One label set's buckets; the newest exemplar of each is kept."""

    __slots__ = ("_bounds", "_counts", "_exemplars", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._exemplars: dict[int, tuple[bytes, bytes, float, float]] = {}

    def observe(self, value: float, trace_id: bytes = b"", span_id: bytes = b"") -> None:
        """Count one value, and remember the span it was seen in, if one is named."""
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
    """A histogram with labels, for use in one thread; who observes bounds the label sets."""

    def __init__(
        self, name: str, meaning: str, bounds: tuple[float, ...], label_names: Sequence[str]
    ) -> None:
        self._name = name
        self._meaning = meaning
        self._bounds = bounds
        self._label_names = tuple(label_names)
        self._cells: dict[tuple[str, ...], Cell] = {}

    def labels(self, *values: str) -> Cell:
        """The cell of a label set (a value for each label), made at its first use.

        Raises `ValueError` if there are not as many values as labels.
        """
        cell = self._cells.get(values)
        if cell is None:
            if len(values) != len(self._label_names):
                raise ValueError(f"{self._name} has the labels {self._label_names}")
            cell = self._cells[values] = Cell(self._bounds)
        return cell

    def family(self) -> Family:
        """All cells, as they stand now; empty labels are left out."""
        series = [
            Series(
                labels_text({n: v for n, v in zip(self._label_names, values, strict=True) if v}),
                cell.value(),
            )
            for values, cell in self._cells.items()
        ]
        return Family(self._name, "histogram", self._meaning, series)
