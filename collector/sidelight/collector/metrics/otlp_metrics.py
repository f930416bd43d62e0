"""Metrics received by OTLP, kept as their latest state and shown by Prometheus's rules."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    DataPointFlags,
    Metric,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from sidelight import conventions
from sidelight.collector.metrics.family import Family, FamilyType, labels
from sidelight.collector.metrics.otlp_series import (
    Counter,
    DroppedPointError,
    Histogram,
    Number,
    Point,
    Series,
    Summary,
)
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.snapshot import ReceivedFamily, ReceivedSeries
from sidelight.otlp.prometheus_names import (
    attribute_labels,
    attribute_text,
    family_name,
    identity,
    is_identity,
)

# Rendered labels of one series; with the cap on series this bounds what senders can make us keep.
_LONGEST_LABELS = 2048
_LONGEST_HELP = 512
_SWEEP_SECONDS = 15.0
_TARGET_HELP = "Attributes of the resources that send by OTLP."


@dataclass(slots=True)
class _Kept:
    type: FamilyType
    help: str
    series: dict[str, Series] = field(default_factory=dict)


@dataclass(slots=True)
class _Target:
    attributes: str
    seen: float


def _target_info(target: str, own: _Target) -> str:
    return f"target_info{{{target},{own.attributes}}} 1\n"


class _Stream(NamedTuple):
    """One metric of one scope: Prometheus's type, how its series are kept, and its points."""

    type: FamilyType
    series: Callable[[], Series]
    points: Iterable[Point]
    is_delta: bool


class OtlpMetrics:
    """The latest state of every received series; a `Source`. Not for use by several threads.

    Series are told apart by `job` and `instance` (from the resource), scope and attributes.
    A series without an update for `stale_seconds` goes; beyond `max_series` new ones are
    refused and counted, as is every point that cannot be shown.
    """

    def __init__(
        self,
        registry: Registry,
        *,
        max_series: int = 10_000,
        stale_seconds: float = 300.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_series = max_series
        self._stale_seconds = stale_seconds
        self._clock = clock
        self._families: dict[str, _Kept] = {}
        self._targets: dict[str, _Target] = {}
        self._count = 0
        self._swept = clock()
        self._dropped = registry.counter(conventions.COLLECTOR_METRIC_POINTS_DROPPED, ("reason",))
        registry.gauge(conventions.COLLECTOR_METRIC_SERIES).set_function(lambda: self._count)

    def ingest(self, request: ExportMetricsServiceRequest) -> None:
        """Take in one export request; what cannot be kept is counted by reason, never raised."""
        now = self._clock()
        if now - self._swept > _SWEEP_SECONDS:
            self._sweep(now)
        for of_resource in request.resource_metrics:
            resource, own = _resource(of_resource.resource)
            kept = False
            for of_scope in of_resource.scope_metrics:
                scope = _scope(of_scope.scope)
                for metric in of_scope.metrics:
                    kept |= self._ingest(metric, resource | scope, now)
            target = labels(resource)
            if kept and target and own and len(own) + len(target) <= _LONGEST_LABELS:
                self._targets[target] = _Target(own, now)

    def families(self, *, exemplars: bool) -> Iterable[Family]:
        """All live series, and `target_info` for the resources they came from."""
        self._sweep(self._clock())
        for name, kept in self._families.items():
            body = "".join(
                series.lines(name, label_text, exemplars=exemplars)
                for label_text, series in kept.series.items()
            )
            yield Family(name, kept.type, kept.help, body)
        if self._targets:
            body = "".join(_target_info(target, own) for target, own in self._targets.items())
            yield Family("target", "info", _TARGET_HELP, body)

    def received(self, *, exemplars: bool) -> Iterable[ReceivedFamily]:
        """What `families` shows, by series, for whoever puts several workers together."""
        self._sweep(self._clock())
        for name, kept in self._families.items():
            series = [
                ReceivedSeries(
                    label_text,
                    each.seen,
                    each.is_delta,
                    each.lines(name, label_text, exemplars=exemplars),
                )
                for label_text, each in kept.series.items()
            ]
            yield ReceivedFamily(name, kept.type, kept.help, series)
        if self._targets:
            series = [
                ReceivedSeries(target, own.seen, False, _target_info(target, own))
                for target, own in self._targets.items()
            ]
            yield ReceivedFamily("target", "info", _TARGET_HELP, series)

    def _ingest(self, metric: Metric, context: dict[str, str], now: float) -> bool:
        """Whether any point of the metric was kept."""
        if metric.HasField("exponential_histogram"):
            # Their buckets move with the data: as classic buckets every rate over them would lie.
            points = len(metric.exponential_histogram.data_points)
            self._dropped.labels("exponential_histogram").inc(points)
            return False
        stream = _stream(metric)
        if stream is None:
            return False
        kind = stream.type if stream.type in ("counter", "gauge") else "other"
        name = family_name(metric.name, metric.unit, kind)
        kept = False
        for point in stream.points:
            try:
                family = self._families.get(name)
                if family is None:
                    family = _Kept(stream.type, metric.description[:_LONGEST_HELP])
                self._keep(family, stream, point, _labels(context, point), now)
                if family.series:
                    self._families[name] = family
                    kept = True
            except DroppedPointError as dropped:
                self._dropped.labels(dropped.reason).inc()
        return kept

    def _keep(
        self, family: _Kept, stream: _Stream, point: Point, label_text: str, now: float
    ) -> None:
        if family.type != stream.type:
            raise DroppedPointError("type_conflict")
        series = family.series.get(label_text)
        if point.flags & DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK:
            if series is not None:
                del family.series[label_text]
                self._count -= 1
            return
        if series is not None:
            series.update(point, delta=stream.is_delta)
        elif self._count < self._max_series:
            series = stream.series()
            series.update(point, delta=stream.is_delta)
            family.series[label_text] = series
            self._count += 1
        else:
            raise DroppedPointError("series_limit")
        series.seen = now
        series.is_delta = stream.is_delta

    def _sweep(self, now: float) -> None:
        self._swept = now
        oldest = now - self._stale_seconds
        for name, family in list(self._families.items()):
            stale = [key for key, series in family.series.items() if series.seen < oldest]
            for key in stale:
                del family.series[key]
            self._count -= len(stale)
            if not family.series:
                del self._families[name]
        for target, own in list(self._targets.items()):
            if own.seen < oldest:
                del self._targets[target]


def _stream(metric: Metric) -> _Stream | None:
    """What a metric holds; None if it holds nothing that can be kept."""
    data = metric.WhichOneof("data")
    delta = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
    if data == "gauge":
        return _Stream("gauge", Number, metric.gauge.data_points, False)
    if data == "sum":
        is_delta = metric.sum.aggregation_temporality == delta
        if metric.sum.is_monotonic:
            return _Stream("counter", Counter, metric.sum.data_points, is_delta)
        return _Stream("gauge", Number, metric.sum.data_points, is_delta)
    if data == "histogram":
        is_delta = metric.histogram.aggregation_temporality == delta
        return _Stream("histogram", Histogram, metric.histogram.data_points, is_delta)
    if data == "summary":
        return _Stream("summary", Summary, metric.summary.data_points, False)
    return None


def _resource(resource: Resource) -> tuple[dict[str, str], str]:
    """`job` and `instance`, and the labels of all other attributes."""
    found = {pair.key: attribute_text(pair.value) for pair in resource.attributes}
    rest = [pair for pair in resource.attributes if not is_identity(pair.key)]
    return identity(found), labels(attribute_labels(rest))


def _scope(scope: InstrumentationScope) -> dict[str, str]:
    found = {"otel_scope_name": scope.name, "otel_scope_version": scope.version}
    return {name: value for name, value in found.items() if value}


def _labels(context: dict[str, str], point: Point) -> str:
    found = dict(context)
    for label, value in attribute_labels(point.attributes).items():
        found[f"exported_{label}" if label in found else label] = value
    text = labels(found)
    if len(text) > _LONGEST_LABELS:
        raise DroppedPointError("labels_too_long")
    return text
