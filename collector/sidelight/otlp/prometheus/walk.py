"""OTLP metrics as Prometheus series: one walk for /metrics and for remote write.

Names, labels and values follow OpenTelemetry's rules of compatibility
(https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/). What is
done with a point (kept as the latest state, or written with its time) is the caller's.
"""

from __future__ import annotations

import math
import sys
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Final, Literal, NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb

from sidelight.otlp.prometheus.names import (
    attribute_labels,
    attribute_text,
    family_name,
    identity,
    is_identity,
)
from sidelight.otlp.prometheus.values import (
    Exemplar,
    HistogramValue,
    NumberValue,
    SummaryValue,
    Value,
)

Kind = Literal["counter", "gauge", "histogram", "summary", "exponential_histogram", "empty"]
"""The type of a family. Points of exponential histograms are faults: their buckets move with the
data, so as classic buckets every rate over them would be wrong. An empty metric has no points."""

MAX_BUCKETS: Final = 200
"""A histogram with more bounds, or a summary with more quantiles, is a fault of its sender."""

_DELTA = pb.AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
_NO_VALUE = pb.DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
# Labels that the samples of a series add themselves.
_OWN_LABELS: Final[Mapping[Kind, frozenset[str]]] = {
    "histogram": frozenset({"le"}),
    "summary": frozenset({"quantile"}),
}
_NONE: Final[frozenset[str]] = frozenset()

_PointMessage = (
    pb.NumberDataPoint
    | pb.HistogramDataPoint
    | pb.SummaryDataPoint
    | pb.ExponentialHistogramDataPoint
)


class Fault(NamedTuple):
    """A point that is no series; `reason` is a label value."""

    reason: Literal["malformed", "too_many_buckets", "exponential_histogram"]


@dataclass(slots=True)
class Point:
    """One point of a series; times are Unix nanoseconds."""

    labels: dict[str, str]
    """Valid names, none with an empty value: to Prometheus that would be no label at all."""
    value: Value
    start_ns: int
    time_ns: int
    has_ended: bool
    """Whether the sender says that the series has no value any more."""


@dataclass(slots=True)
class MetricSeries:
    """The points of one metric of one scope."""

    name: str
    """The family's name: unit spelled out, a counter's `_total` not included."""
    metric: str
    """Name and unit as the sender has them: several can become one `name`."""
    kind: Kind
    help: str
    unit: str
    is_delta: bool
    """Whether each point holds only what was added since the last one."""
    points: Iterator[Point | Fault]


@dataclass(slots=True)
class ResourceSeries:
    """The metrics of one resource."""

    identity: dict[str, str]
    """`job` and `instance`, as far as the resource names them."""
    info: dict[str, str]
    """All other attributes of the resource, as labels of `target_info`."""
    metrics: Iterator[MetricSeries]


def walk(request: ExportMetricsServiceRequest) -> Iterator[ResourceSeries]:
    """The series of a request, by resource and metric; each is read when it is asked for."""
    for of_resource in request.resource_metrics:
        texts = {pair.key: attribute_text(pair.value) for pair in of_resource.resource.attributes}
        rest = (pair for pair in of_resource.resource.attributes if not is_identity(pair.key))
        own = identity(texts)
        info = _added(own, _NONE, attribute_labels(rest))
        yield ResourceSeries(own, info, _metrics(of_resource, own))


def _metrics(of_resource: pb.ResourceMetrics, own: dict[str, str]) -> Iterator[MetricSeries]:
    for of_scope in of_resource.scope_metrics:
        context = own | _scope_labels(of_scope.scope)
        for metric in of_scope.metrics:
            kind, is_delta, points = _opened(metric)
            yield MetricSeries(
                family_name(metric.name, metric.unit, _naming(kind)),
                sys.intern(f"{metric.name} {metric.unit}"),
                kind,
                metric.description,
                metric.unit,
                is_delta,
                map(partial(_point, context, kind), points),
            )


def _opened(metric: pb.Metric) -> tuple[Kind, bool, Sequence[_PointMessage]]:
    """Kind and points of a metric, and whether they are deltas."""
    match metric.WhichOneof("data"):
        case "gauge":
            return "gauge", False, metric.gauge.data_points
        case "sum":
            kind: Kind = "counter" if metric.sum.is_monotonic else "gauge"
            is_delta = metric.sum.aggregation_temporality == _DELTA
            return kind, is_delta, metric.sum.data_points
        case "histogram":
            is_delta = metric.histogram.aggregation_temporality == _DELTA
            return "histogram", is_delta, metric.histogram.data_points
        case "summary":
            return "summary", False, metric.summary.data_points
        case "exponential_histogram":
            return "exponential_histogram", False, metric.exponential_histogram.data_points
    return "empty", False, ()


def _naming(kind: Kind) -> Literal["counter", "gauge", "other"]:
    match kind:
        case "counter" | "gauge":
            return kind
    return "other"


def _scope_labels(scope: InstrumentationScope) -> dict[str, str]:
    labels = {"otel_scope_name": scope.name, "otel_scope_version": scope.version}
    return {name: value for name, value in labels.items() if value}


def _point(context: dict[str, str], kind: Kind, point: _PointMessage) -> Point | Fault:
    has_ended = bool(point.flags & _NO_VALUE)
    value: Value | Fault
    if isinstance(point, pb.NumberDataPoint):
        value = _number(point, kind, has_ended=has_ended)
    elif isinstance(point, pb.HistogramDataPoint):
        value = _histogram(point)
    elif isinstance(point, pb.SummaryDataPoint):
        value = _summary(point)
    else:
        return Fault("exponential_histogram")
    if isinstance(value, Fault):
        return value
    return Point(
        _labels(context, kind, point.attributes),
        value,
        point.start_time_unix_nano,
        point.time_unix_nano,
        has_ended,
    )


def _labels(context: dict[str, str], kind: Kind, attributes: Iterable[KeyValue]) -> dict[str, str]:
    """The labels of a series."""
    return context | _added(context, _OWN_LABELS.get(kind, _NONE), attribute_labels(attributes))


def _added(
    context: Mapping[str, str], taken: frozenset[str], attributes: Mapping[str, str]
) -> dict[str, str]:
    """Attributes as labels beside those of `context`: they never hide one that is in use.

    Sorted by label, because a series is known by the text of its labels.
    """
    added = {
        label: value
        for label, value in attributes.items()
        if value and label not in context and label not in taken
    }
    for label, value in attributes.items():
        if value and (label in context or label in taken):
            exported = f"exported_{label}"
            # A sender that passes on what it scraped may have that one already.
            while exported in context or exported in attributes or exported in added:
                exported = f"exported_{exported}"
            added[exported] = value
    return dict(sorted(added.items()))


def _number(point: pb.NumberDataPoint, kind: Kind, *, has_ended: bool) -> NumberValue | Fault:
    which = point.WhichOneof("value")
    if which is None and not has_ended:
        return Fault("malformed")
    value = point.as_int if which == "as_int" else point.as_double
    # OpenMetrics has no counter below zero, and none that is not a number.
    if kind == "counter" and not value >= 0:
        return Fault("malformed")
    return NumberValue(value, tuple(_exemplars(point.exemplars)))


def _histogram(point: pb.HistogramDataPoint) -> HistogramValue | Fault:
    bounds, counts = tuple(point.explicit_bounds), list(point.bucket_counts)
    if not bounds and not counts:
        counts = [point.count]
    if len(bounds) > MAX_BUCKETS:
        return Fault("too_many_buckets")
    is_ascending = all(low < high for low, high in pairwise(bounds))
    if len(counts) != len(bounds) + 1 or not is_ascending or not all(map(math.isfinite, bounds)):
        return Fault("malformed")
    exemplars: dict[int, tuple[Exemplar, ...]] = {}
    for exemplar in _exemplars(point.exemplars):
        bucket = bisect_left(bounds, exemplar.value)
        exemplars[bucket] = (*exemplars.get(bucket, ()), exemplar)
    total = point.sum if point.HasField("sum") else None
    return HistogramValue(bounds, counts, total, exemplars)


def _summary(point: pb.SummaryDataPoint) -> SummaryValue | Fault:
    if len(point.quantile_values) > MAX_BUCKETS:
        return Fault("too_many_buckets")
    quantiles = [(at.quantile, at.value) for at in point.quantile_values]
    # A repeated quantile would be a repeated series.
    if len({at for at, _ in quantiles}) < len(quantiles) or not all(
        0 <= at <= 1 for at, _ in quantiles
    ):
        return Fault("malformed")
    return SummaryValue(quantiles, point.count, point.sum)


def _exemplars(points: Iterable[pb.Exemplar]) -> Iterator[Exemplar]:
    """Exemplars with a trace, oldest first."""
    for point in sorted(points, key=lambda point: point.time_unix_nano):
        if len(point.trace_id) == 16:
            value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
            span_id = point.span_id.hex() if len(point.span_id) == 8 else ""
            yield Exemplar(point.trace_id.hex(), span_id, value, point.time_unix_nano / 1e9)
