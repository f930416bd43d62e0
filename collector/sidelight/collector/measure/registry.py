"""The metrics this process makes itself: one registry, with metrics made from conventions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from prometheus_client import CollectorRegistry, Counter, Gauge, Metric, ProcessCollector

from sidelight import conventions
from sidelight.collector.measure.family import Family, FamilyType, exemplar, labels, sample
from sidelight.collector.measure.family import number as spell
from sidelight.collector.measure.histogram import Histogram
from sidelight.conventions import Instrument


class Registry:
    """A registry of its own (never prometheus_client's global one), and a `Source`.

    It also shows the memory, CPU time and open files of the process.
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self._registry)
        self._histograms: dict[str, Histogram] = {}

    def counter(self, metric: str, labels: Sequence[str] = ()) -> Counter:
        """The counter of a name in `sidelight.conventions`; once per metric.

        Raises `ValueError` if the metric is no counter or was made before, and `KeyError`
        if it is not defined; so do the others.
        """
        name, meaning, _ = _defined(metric, "counter")
        return Counter(name, meaning, labels, registry=self._registry)

    def gauge(self, metric: str, labels: Sequence[str] = ()) -> Gauge:
        """The gauge of a name in `sidelight.conventions`; `set_function` reads it when shown."""
        name, meaning, _ = _defined(metric, "gauge")
        return Gauge(name, meaning, labels, registry=self._registry)

    def histogram(self, metric: str, labels: Sequence[str] = ()) -> Histogram:
        """The histogram of a name in `sidelight.conventions`, with its buckets."""
        name, meaning, buckets = _defined(metric, "histogram")
        if name in self._histograms:
            raise ValueError(f"{metric} was made before")
        histogram = self._histograms[name] = Histogram(name, meaning, buckets, labels)
        return histogram

    def families(self, *, exemplars: bool) -> Iterable[Family]:
        """All metrics made here."""
        for metric in self._registry.collect():
            body = _body(metric, exemplars=exemplars)
            yield Family(metric.name, cast(FamilyType, metric.type), metric.documentation, body)
        for histogram in self._histograms.values():
            yield histogram.family(exemplars=exemplars)


def _defined(metric: str, instrument: Instrument) -> tuple[str, str, tuple[float, ...]]:
    definition = conventions.METRICS[metric]
    if definition.instrument != instrument:
        raise ValueError(f"{metric} is a {definition.instrument}, not a {instrument}")
    return conventions.prometheus_name(metric), definition.meaning, definition.buckets


def _body(metric: Metric, *, exemplars: bool) -> str:
    lines = []
    created = metric.name + "_created"
    for each in metric.samples:
        if each.name == created:  # nobody charts it, and it is a third of all lines
            continue
        mark = ""
        if exemplars and each.exemplar is not None:
            kept = each.exemplar
            time = None if kept.timestamp is None else float(kept.timestamp)
            mark = exemplar(kept.labels, kept.value, time)
        lines.append(sample(each.name, labels(each.labels), spell(each.value), mark))
    return "".join(lines)
