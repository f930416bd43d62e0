"""OTLP metrics as Prometheus time series: pure, export request in, write request out.

Names and labels are those of /metrics (`lens.prometheus_names`), so that a dashboard reads
the same from a scrape and from remote write.
"""

from __future__ import annotations

import math
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    DataPointFlags,
    Exemplar,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    SummaryDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from sidelight.collector.destinations.prometheus_remote_write.remote_write_pb2 import (
    MetricMetadata,
    TimeSeries,
    WriteRequest,
)
from sidelight.otlp.prometheus_names import (
    attribute_labels,
    attribute_text,
    family_name,
    identity,
    is_identity,
    spelled,
)

Labels = Mapping[str, str]

_MS = 1_000_000
_NAMED_AS: Mapping[str, Literal["counter", "gauge"]] = {"counter": "counter", "gauge": "gauge"}
# The very bits by which Prometheus knows that a series has ended.
_STALE: float = struct.unpack("<d", (0x7FF0000000000002).to_bytes(8, "little"))[0]
_NO_VALUE = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
_DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
_TYPES = {
    "counter": MetricMetadata.COUNTER,
    "gauge": MetricMetadata.GAUGE,
    "histogram": MetricMetadata.HISTOGRAM,
    "summary": MetricMetadata.SUMMARY,
}


@dataclass(slots=True)
class Converted:
    """The series of a request, and the metrics that have none, by why."""

    request: WriteRequest = field(default_factory=WriteRequest)
    left_out: Counter[str] = field(default_factory=Counter)


def convert(body: bytes) -> Converted:
    """All points of a serialised metrics export request.

    Left out are deltas, which need a memory of what was before, and exponential histograms,
    whose buckets would have to be native ones.
    """
    converted = Converted()
    described: set[str] = set()
    for of_resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        context, own = _resource(of_resource.resource)
        newest_ns = 0
        for of_scope in of_resource.scope_metrics:
            labels = {**context, **dict(_scope(of_scope.scope))}
            for metric in of_scope.metrics:
                kind = _kind(metric)
                if kind in ("delta", "exponential_histogram", "empty"):
                    converted.left_out[kind] += 1
                    continue
                name = family_name(metric.name, metric.unit, _NAMED_AS.get(kind, "other"))
                if name not in described:
                    described.add(name)
                    _describe(converted.request, name, kind, metric)
                newest_ns = max(newest_ns, _add(converted.request, name, kind, metric, labels))
        if own and context and newest_ns:
            series = _series(converted.request, "target_info", {**own, **context})
            series.samples.add(value=1, timestamp=newest_ns // _MS)
    return converted


def _kind(metric: Metric) -> str:
    data = metric.WhichOneof("data")
    if data is None:
        return "empty"
    if data in ("sum", "histogram") and getattr(metric, data).aggregation_temporality == _DELTA:
        return "delta"
    if data == "sum":
        return "counter" if metric.sum.is_monotonic else "gauge"
    return str(data)


def _add(request: WriteRequest, name: str, kind: str, metric: Metric, context: Labels) -> int:
    """Add the metric's points; the newest one's time."""
    newest_ns = 0
    match kind:
        case "histogram":
            for bucketed in metric.histogram.data_points:
                newest_ns = max(newest_ns, bucketed.time_unix_nano)
                _add_histogram(request, name, bucketed, _labels(context, bucketed.attributes))
        case "summary":
            for summary in metric.summary.data_points:
                newest_ns = max(newest_ns, summary.time_unix_nano)
                _add_summary(request, name, summary, _labels(context, summary.attributes))
        case _:
            suffix = "_total" if kind == "counter" else ""
            points = (metric.gauge if metric.HasField("gauge") else metric.sum).data_points
            for point in points:
                newest_ns = max(newest_ns, point.time_unix_nano)
                _add_number(request, name + suffix, point, _labels(context, point.attributes))
    return newest_ns


def _add_number(request: WriteRequest, name: str, point: NumberDataPoint, labels: Labels) -> None:
    value = point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
    series = _series(request, name, labels)
    series.samples.add(value=_recorded(point.flags, value), timestamp=point.time_unix_nano // _MS)
    if name.endswith("_total"):
        _add_exemplars(series, point.exemplars)


def _add_histogram(
    request: WriteRequest, name: str, point: HistogramDataPoint, labels: Labels
) -> None:
    timestamp = point.time_unix_nano // _MS
    bounds = [*point.explicit_bounds, math.inf]
    counts = list(point.bucket_counts) or [0] * (len(bounds) - 1) + [point.count]
    total, below = 0, -math.inf
    for bound, count in zip(bounds, counts, strict=False):
        total += count
        series = _series(request, f"{name}_bucket", {**labels, "le": spelled(bound)})
        series.samples.add(value=_recorded(point.flags, total), timestamp=timestamp)
        inside = (each for each in point.exemplars if below < _value(each) <= bound)
        _add_exemplars(series, inside)
        below = bound
    count_series = _series(request, f"{name}_count", labels)
    count_series.samples.add(value=_recorded(point.flags, point.count), timestamp=timestamp)
    if point.HasField("sum"):
        sum_series = _series(request, f"{name}_sum", labels)
        sum_series.samples.add(value=_recorded(point.flags, point.sum), timestamp=timestamp)


def _add_summary(request: WriteRequest, name: str, point: SummaryDataPoint, labels: Labels) -> None:
    found: list[tuple[str, Labels, float]] = [
        (name, {**labels, "quantile": spelled(each.quantile)}, each.value)
        for each in point.quantile_values
    ]
    found.append((f"{name}_count", labels, point.count))
    found.append((f"{name}_sum", labels, point.sum))
    for full_name, full_labels, value in found:
        series = _series(request, full_name, full_labels)
        value = _recorded(point.flags, value)
        series.samples.add(value=value, timestamp=point.time_unix_nano // _MS)


def _series(request: WriteRequest, name: str, labels: Labels) -> TimeSeries:
    """A new series; remote write wants labels sorted by name, and none empty."""
    series = request.timeseries.add()
    for label, value in sorted({**labels, "__name__": name}.items()):
        if value:
            series.labels.add(name=label, value=value)
    return series


def _add_exemplars(series: TimeSeries, points: Iterable[Exemplar]) -> None:
    """Exemplars with a trace, oldest first, as remote write wants them."""
    for point in sorted(points, key=lambda each: each.time_unix_nano):
        if len(point.trace_id) != 16:
            continue
        exemplar = series.exemplars.add(value=_value(point))
        exemplar.timestamp = point.time_unix_nano // _MS
        exemplar.labels.add(name="trace_id", value=point.trace_id.hex())
        if len(point.span_id) == 8:
            exemplar.labels.add(name="span_id", value=point.span_id.hex())


def _value(point: Exemplar) -> float:
    return point.as_int if point.WhichOneof("value") == "as_int" else point.as_double


def _recorded(flags: int, value: float) -> float:
    return _STALE if flags & _NO_VALUE else float(value)


def _describe(request: WriteRequest, name: str, kind: str, metric: Metric) -> None:
    request.metadata.add(
        type=_TYPES[kind],
        metric_family_name=f"{name}_total" if kind == "counter" else name,
        help=metric.description,
        unit=metric.unit,
    )


def _resource(resource: Resource) -> tuple[dict[str, str], dict[str, str]]:
    """`job` and `instance`, and all other attributes as labels."""
    found = {pair.key: attribute_text(pair.value) for pair in resource.attributes}
    rest = (pair for pair in resource.attributes if not is_identity(pair.key))
    return identity(found), attribute_labels(rest)


def _scope(scope: InstrumentationScope) -> Iterator[tuple[str, str]]:
    yield "otel_scope_name", scope.name
    yield "otel_scope_version", scope.version


def _labels(context: Labels, attributes: Iterable[KeyValue]) -> dict[str, str]:
    found = dict(context)
    for label, value in attribute_labels(attributes).items():
        found[f"exported_{label}" if label in found else label] = value
    return found
