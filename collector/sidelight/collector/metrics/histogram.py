"""A histogram whose buckets lead to traces, cheap enough to observe every request.

prometheus_client's takes 4 µs for an observation with an exemplar and 4 µs for a line when
shown, which at 500 label sets stops the event loop for 0.1 s; this one takes a fifth of both.
"""

from __future__ import annotations

import math
import time
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from sidelight.collector.metrics.family import Family, exemplar, labels, number, sample


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

    def lines(self, name: str, label_text: str, *, exemplars: bool) -> str:
        """Cumulative buckets, count and sum; `label_text` is without braces."""
        comma = f"{label_text}," if label_text else ""
        bounds = (*self._bounds, math.inf)
        parts = []
        for index, count in enumerate(accumulate(self._counts)):
            mark = self._exemplar(index) if exemplars else ""
            parts.append(f'{name}_bucket{{{comma}le="{number(bounds[index])}"}} {count}{mark}\n')
        parts.append(sample(f"{name}_count", label_text, str(sum(self._counts))))
        parts.append(sample(f"{name}_sum", label_text, number(self._sum)))
        return "".join(parts)

    def _exemplar(self, bucket: int) -> str:
        found = self._exemplars.get(bucket)
        if found is None:
            return ""
        trace_id, span_id, value, at = found
        return exemplar({"trace_id": trace_id.hex(), "span_id": span_id.hex()}, value, at)


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

    def family(self, *, exemplars: bool) -> Family:
        """All cells, as they stand now; empty labels are left out."""
        body = "".join(
            cell.lines(
                self._name,
                labels({n: v for n, v in zip(self._label_names, values, strict=True) if v}),
                exemplars=exemplars,
            )
            for values, cell in self._cells.items()
        )
        return Family(self._name, "histogram", self._meaning, body)
