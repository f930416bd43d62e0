"""Counters and gauges: what this process counts, and what it knows of itself.

A counter's series can lead to the trace that it last counted.

prometheus_client's would bring its HTTP servers, 2 MB of the 60 that an idle collector may take.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Generic, Literal, TypeVar

from sidelight.collector.metrics.family import Family, Series, labels_text
from sidelight.otlp.prometheus.values import Exemplar, NumberValue

# One for all: counting takes 0.1 µs, and only the event loop and a few threads count.
_lock = threading.Lock()


class CounterSeries:
    """One label set of a counter."""

    __slots__ = ("_last_seen", "value")

    def __init__(self) -> None:
        self.value: float = 0
        self._last_seen: tuple[bytes, bytes, float, float] | None = None

    def inc(self, amount: float = 1, trace_id: bytes = b"", span_id: bytes = b"") -> None:
        """Add to the count, and remember the span in which it was seen, if one is named.

        Raises `ValueError` for a negative amount.
        """
        if amount < 0:
            raise ValueError("a counter only goes up")
        with _lock:
            self.value += amount
            if trace_id:
                # The time of the count: Prometheus drops exemplars that go back in time.
                self._last_seen = (trace_id, span_id, amount, time.time())

    @property
    def exemplars(self) -> tuple[Exemplar, ...]:
        """What was counted last with a span; nothing where no span was named."""
        if self._last_seen is None:
            return ()
        trace_id, span_id, amount, seconds = self._last_seen
        return (Exemplar(trace_id.hex(), span_id.hex(), amount, seconds),)


class GaugeSeries:
    """One label set of a gauge."""

    __slots__ = ("_read",)

    # OpenMetrics has none on gauges.
    exemplars: tuple[Exemplar, ...] = ()

    def __init__(self) -> None:
        self._read: Callable[[], float] = lambda: 0

    @property
    def value(self) -> float:
        """The value now."""
        return self._read()

    def set(self, value: float) -> None:
        """Show this value from now on."""
        self._read = lambda: value

    def set_function(self, read: Callable[[], float]) -> None:
        """Call `read` for the value whenever it is shown."""
        self._read = read


_SeriesT = TypeVar("_SeriesT", CounterSeries, GaugeSeries)


class _Instrument(Generic[_SeriesT]):
    def __init__(
        self,
        new_series: type[_SeriesT],
        kind: Literal["counter", "gauge"],
        name: str,
        meaning: str,
        label_names: Sequence[str],
    ) -> None:
        self._new_series: type[_SeriesT] = new_series
        self._kind = kind
        self._name = name
        self._meaning = meaning
        self._label_names = tuple(label_names)
        self._series: dict[tuple[str, ...], _SeriesT] = {}
        if not label_names:
            # Shown before the first event, so that a rate sees that event too.
            self.labels()

    def labels(self, *values: str) -> _SeriesT:
        """The series of a label set (a value for each label), made when it is first used.

        Raises `ValueError` if there are not as many values as labels.
        """
        series = self._series.get(values)
        if series is None:
            if len(values) != len(self._label_names):
                raise ValueError(f"{self._name} has the labels {self._label_names}")
            # Two threads may come here at once: both must get the same series.
            series = self._series.setdefault(values, self._new_series())
        return series

    def family(self) -> Family:
        """All label sets as they stand now, without those whose value is not known (NaN).

        Empty labels are left out.
        """
        shown = []
        # A copy, because a thread may add a label set at this moment.
        for values, series in list(self._series.items()):
            value = series.value
            if not math.isnan(value):
                pairs = {n: v for n, v in zip(self._label_names, values, strict=True) if v}
                shown.append(Series(labels_text(pairs), NumberValue(value, series.exemplars)))
        return Family(self._name, self._kind, self._meaning, shown)


class Counter(_Instrument[CounterSeries]):
    """Goes up, for each label set; may be used from any thread."""

    def __init__(self, name: str, meaning: str, label_names: Sequence[str] = ()) -> None:
        super().__init__(CounterSeries, "counter", name, meaning, label_names)

    def inc(self, amount: float = 1) -> None:
        """Add to a counter without labels."""
        self.labels().inc(amount)


class Gauge(_Instrument[GaugeSeries]):
    """Goes up and down, for each label set; may be used from any thread."""

    def __init__(self, name: str, meaning: str, label_names: Sequence[str] = ()) -> None:
        super().__init__(GaugeSeries, "gauge", name, meaning, label_names)

    def set(self, value: float) -> None:
        """Set a gauge without labels."""
        self.labels().set(value)

    def set_function(self, read: Callable[[], float]) -> None:
        """Let a gauge without labels call `read` whenever it is shown."""
        self.labels().set_function(read)
