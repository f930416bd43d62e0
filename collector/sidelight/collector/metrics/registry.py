"""The metrics this process makes itself: one registry, with metrics made from conventions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sidelight import conventions
from sidelight.collector.metrics import process
from sidelight.collector.metrics.family import Family
from sidelight.collector.metrics.histogram import Histogram
from sidelight.collector.metrics.instruments import Counter, Gauge
from sidelight.conventions import Instrument


class Registry:
    """A registry of its own in each service, and a `Source`.

    It also shows the memory, CPU time and open files of the process.
    """

    def __init__(self) -> None:
        self._values: dict[str, Counter | Gauge] = {}
        self._histograms: dict[str, Histogram] = {}

    def counter(self, metric: str, labels: Sequence[str] = ()) -> Counter:
        """The counter of a name in `sidelight.conventions`; once per metric.

        Raises `ValueError` if the metric is no counter or was made before, and `KeyError`
        if it is not defined; so do the others.
        """
        name, meaning, _ = self._defined(metric, "counter")
        counter = self._values[name] = Counter(name, meaning, labels)
        return counter

    def gauge(self, metric: str, labels: Sequence[str] = ()) -> Gauge:
        """The gauge of a name in `sidelight.conventions`; `set_function` is read when shown."""
        name, meaning, _ = self._defined(metric, "gauge")
        gauge = self._values[name] = Gauge(name, meaning, labels)
        return gauge

    def histogram(self, metric: str, labels: Sequence[str] = ()) -> Histogram:
        """The histogram of a name in `sidelight.conventions`, with its buckets."""
        name, meaning, buckets = self._defined(metric, "histogram")
        histogram = self._histograms[name] = Histogram(name, meaning, buckets, labels)
        return histogram

    def families(self) -> Iterable[Family]:
        """All metrics made here."""
        yield from process.families()
        for value in self._values.values():
            yield value.family()
        for histogram in self._histograms.values():
            yield histogram.family()

    def _defined(self, metric: str, instrument: Instrument) -> tuple[str, str, tuple[float, ...]]:
        # One place for names and meanings, so that pages and dashboards cannot differ from them.
        definition = conventions.METRICS[metric]
        if definition.instrument != instrument:
            raise ValueError(f"{metric} is a {definition.instrument}, not a {instrument}")
        name = conventions.prometheus_name(metric)
        # Both would be shown, and a page with a series twice is not valid.
        if name in self._values or name in self._histograms:
            raise ValueError(f"{metric} was made before")
        return name, definition.meaning, definition.buckets
