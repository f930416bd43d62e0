"""Converts OTLP metrics to a remote write request: pure.

Names, labels and values are those of /metrics, from the same walk (`sidelight.otlp.prometheus`). A
dashboard shows the same data from a scrape and from remote write.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from sidelight.collector.destinations.prometheus_remote_write.remote_write_pb2 import (
    MetricMetadata,
    TimeSeries,
    WriteRequest,
)
from sidelight.otlp.prometheus.values import Exemplar, samples
from sidelight.otlp.prometheus.walk import Fault, MetricSeries, Point, walk

_NANOSECONDS_PER_MILLISECOND: Final = 1_000_000
# Prometheus's stale marker: a NaN with these bits says that a series has ended.
_STALE: Final[float] = struct.unpack("<d", (0x7FF0000000000002).to_bytes(8, "little"))[0]
_TYPES: Final = {
    "counter": MetricMetadata.COUNTER,
    "gauge": MetricMetadata.GAUGE,
    "histogram": MetricMetadata.HISTOGRAM,
    "summary": MetricMetadata.SUMMARY,
}


@dataclass(slots=True)
class ConvertedMetrics:
    """The series of a request, and the number of metrics that are left out, by reason."""

    request: WriteRequest = field(default_factory=WriteRequest)
    left_out: Counter[str] = field(default_factory=Counter)


def convert(body: bytes) -> ConvertedMetrics:
    """Convert all points of a serialised metrics export request.

    Left out are deltas, which need the sum of earlier ones; exponential histograms, which need
    native histograms; and malformed points.
    """
    converted = ConvertedMetrics()
    described: set[str] = set()
    for resource in walk(ExportMetricsServiceRequest.FromString(body)):
        newest_ns = 0
        for metric in resource.metrics:
            if metric.is_delta or metric.kind == "empty":
                converted.left_out["delta" if metric.is_delta else "empty"] += 1
                continue
            for point in _valid(metric, converted.left_out):
                # Metadata belongs to a name, not to a series.
                if metric.name not in described:
                    described.add(metric.name)
                    _describe(converted.request, metric)
                newest_ns = max(newest_ns, point.time_ns)
                _add(converted.request, metric, point)
        # Resource attributes are not repeated on each series (OpenTelemetry's Prometheus
        # compatibility specification, "Resource Attributes").
        if resource.info and resource.identity and newest_ns:
            labels = resource.info | resource.identity
            series = _series(converted.request, "target_info", labels)
            series.samples.add(value=1, timestamp=_milliseconds(newest_ns))
    return converted


def _valid(metric: MetricSeries, left_out: Counter[str]) -> Iterable[Point]:
    """The points that can be written. A metric with others counts as left out, once."""
    reason = ""
    for point in metric.points:
        if isinstance(point, Fault):
            reason = reason or point.reason
        else:
            yield point
    if reason:
        left_out[reason] += 1


def _add(request: WriteRequest, metric: MetricSeries, point: Point) -> None:
    timestamp = _milliseconds(point.time_ns)
    for suffix, label, label_value, number, exemplars in samples(metric.kind, point.value):
        labels = point.labels | {label: label_value} if label else point.labels
        series = _series(request, metric.name + suffix, labels)
        value = _STALE if point.has_ended else float(number)
        series.samples.add(value=value, timestamp=timestamp)
        _add_exemplars(series, exemplars)


def _series(request: WriteRequest, name: str, labels: Mapping[str, str]) -> TimeSeries:
    """A new series. Remote write requires labels sorted by name."""
    series = request.timeseries.add()
    for label, value in sorted({**labels, "__name__": name}.items()):
        series.labels.add(name=label, value=value)
    return series


def _add_exemplars(series: TimeSeries, exemplars: Iterable[Exemplar]) -> None:
    for exemplar in exemplars:
        timestamp = round(exemplar.seconds * 1000)
        added = series.exemplars.add(value=exemplar.value, timestamp=timestamp)
        added.labels.add(name="trace_id", value=exemplar.trace_id)
        if exemplar.span_id:
            added.labels.add(name="span_id", value=exemplar.span_id)


def _describe(request: WriteRequest, metric: MetricSeries) -> None:
    request.metadata.add(
        type=_TYPES[metric.kind],
        metric_family_name=f"{metric.name}_total" if metric.kind == "counter" else metric.name,
        help=metric.help,
        unit=metric.unit,
    )


def _milliseconds(nanoseconds: int) -> int:
    return nanoseconds // _NANOSECONDS_PER_MILLISECOND
