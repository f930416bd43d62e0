"""The latest state of one series received by OTLP, and how points change it."""

from __future__ import annotations

from sidelight.otlp.prometheus.values import HistogramValue, NumberValue, Value
from sidelight.otlp.prometheus.walk import Point


class LatePointError(Exception):
    """A point older than the last one, or of a process that has restarted since."""


class ReceivedSeries:
    """The state of one series.

    Cumulative points replace what was known; deltas are added up, so that Prometheus, which
    knows no deltas, sees a series that grows.
    """

    __slots__ = ("_start_ns", "_time_ns", "is_delta", "metric", "seen", "value")

    def __init__(self, point: Point, *, metric: str, is_delta: bool, seen: float) -> None:
        self.metric = metric
        """Name and unit as the sender has them."""
        self.value: Value = point.value
        self.is_delta = is_delta
        self.seen = seen
        """When it last changed, on its keeper's clock."""
        self._start_ns = point.start_ns
        self._time_ns = point.time_ns
        _keep_newest_exemplars(self.value)

    def update(self, point: Point, *, is_delta: bool, seen: float) -> None:
        """Take in a point. Raises `LatePointError`; then nothing has changed."""
        # A delta with the time of the last one is that one, sent again.
        if point.time_ns < self._time_ns or (is_delta and point.time_ns == self._time_ns):
            raise LatePointError
        if not is_delta and point.start_ns and point.start_ns < self._start_ns:
            raise LatePointError
        has_restarted = not is_delta and point.start_ns > self._start_ns
        self._start_ns, self._time_ns = point.start_ns, point.time_ns
        self.is_delta, self.seen = is_delta, seen
        old, new = self.value, point.value
        _keep_newest_exemplars(new)
        if isinstance(old, NumberValue) and isinstance(new, NumberValue):
            if is_delta:
                new.value += old.value
            if not has_restarted:
                new.exemplars = new.exemplars or old.exemplars
        elif (
            isinstance(old, HistogramValue)
            and isinstance(new, HistogramValue)
            # Buckets of different bounds cannot be added, and their exemplars not be placed.
            and old.bounds == new.bounds
        ):
            if is_delta:
                _add(old, new)
            if not has_restarted:
                new.exemplars = old.exemplars | new.exemplars
        self.value = new


def _add(old: HistogramValue, new: HistogramValue) -> None:
    """Add the old counts to a delta."""
    new.counts = [before + added for before, added in zip(old.counts, new.counts, strict=True)]
    new.sum = None if old.sum is None or new.sum is None else old.sum + new.sum


def _keep_newest_exemplars(value: Value) -> None:
    """An exposition has room for one exemplar a sample."""
    if isinstance(value, NumberValue):
        value.exemplars = value.exemplars[-1:]
    elif isinstance(value, HistogramValue):
        for bucket, exemplars in value.exemplars.items():
            value.exemplars[bucket] = exemplars[-1:]
