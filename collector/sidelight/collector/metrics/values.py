"""Counters and gauges: what this process counts and what it knows of itself.

A counter's label set can lead to the trace that it last counted.

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

# One for all: what is counted is counted for 0.1 µs, from the event loop and from a few threads.
_lock = threading.Lock()


class Count:
    """One label set of a counter."""

    __slots__ = ("_seen_in", "value")

    def __init__(self) -> None:
        self.value: float = 0
        self._seen_in: tuple[bytes, bytes, float, float] | None = None

    def inc(self, amount: float = 1, trace_id: bytes = b"", span_id: bytes = b"") -> None:
        """Count on, and remember the span it was seen in, if one is named.

        Raises `ValueError` for less than nothing.
        """
        if amount < 0:
            raise ValueError("a counter only goes up")
        with _lock:
            self.value += amount
            if trace_id:
                # The time of the count: Prometheus drops exemplars that go back in time.
                self._seen_in = (trace_id, span_id, amount, time.time())

    @property
    def exemplars(self) -> tuple[Exemplar, ...]:
        """What was counted last with a span; nothing where no span was named."""
        if self._seen_in is None:
            return ()
        trace_id, span_id, amount, seconds = self._seen_in
        return (Exemplar(trace_id.hex(), span_id.hex(), amount, seconds),)


class Level:
    """One label set of a gauge."""

    __slots__ = ("_read",)

    exemplars: tuple[Exemplar, ...] = ()

    def __init__(self) -> None:
        self._read: Callable[[], float] = lambda: 0

    @property
    def value(self) -> float:
        return self._read()

    def set(self, value: float) -> None:
        """Show this from now on."""
        self._read = lambda: value

    def set_function(self, read: Callable[[], float]) -> None:
        """Ask `read` whenever it is shown."""
        self._read = read


_Cell = TypeVar("_Cell", Count, Level)


class _Labelled(Generic[_Cell]):
    def __init__(
        self,
        cell: type[_Cell],
        kind: Literal["counter", "gauge"],
        name: str,
        meaning: str,
        label_names: Sequence[str],
    ) -> None:
        self._new: type[_Cell] = cell
        self._kind = kind
        self._name = name
        self._meaning = meaning
        self._label_names = tuple(label_names)
        self._cells: dict[tuple[str, ...], _Cell] = {}
        if not label_names:
            self.labels()

    def labels(self, *values: str) -> _Cell:
        """The cell of a label set (a value for each label), made at its first use.

        Raises `ValueError` if there are not as many values as labels.
        """
        found = self._cells.get(values)
        if found is None:
            if len(values) != len(self._label_names):
                raise ValueError(f"{self._name} has the labels {self._label_names}")
            found = self._cells.setdefault(values, self._new())
        return found

    def family(self) -> Family:
        """All label sets as they stand now, without what is not known (NaN).

        Empty labels are left out.
        """
        series = []
        for values, cell in list(self._cells.items()):
            value = cell.value
            if not math.isnan(value):
                pairs = {n: v for n, v in zip(self._label_names, values, strict=True) if v}
                series.append(Series(labels_text(pairs), NumberValue(value, cell.exemplars)))
        return Family(self._name, self._kind, self._meaning, series)


class Counter(_Labelled[Count]):
    """Goes up, for each label set; may be used from any thread."""

    def __init__(self, name: str, meaning: str, label_names: Sequence[str] = ()) -> None:
        super().__init__(Count, "counter", name, meaning, label_names)

    def inc(self, amount: float = 1) -> None:
        """Of a counter without labels."""
        self.labels().inc(amount)


class Gauge(_Labelled[Level]):
    """Goes up and down, for each label set; may be used from any thread."""

    def __init__(self, name: str, meaning: str, label_names: Sequence[str] = ()) -> None:
        super().__init__(Level, "gauge", name, meaning, label_names)

    def set(self, value: float) -> None:
        """Of a gauge without labels."""
        self.labels().set(value)

    def set_function(self, read: Callable[[], float]) -> None:
        """Of a gauge without labels."""
        self.labels().set_function(read)
