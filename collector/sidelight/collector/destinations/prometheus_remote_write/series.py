"""OTLP metrics as the samples of a remote write request, both serialised: no input or output.

Names, labels and values are those of /metrics, by the same walk (`sidelight.otlp.prometheus`),
so that a dashboard reads the same from a scrape and from remote write.
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
# The very bits by which Prometheus knows that a series has ended.
_STALE: Final[float] = struct.unpack("<d", (0x7FF0000000000002).to_bytes(8, "little"))[0]
_TYPES: Final = {
    "counter": MetricMetadata.COUNTER,
    "gauge": MetricMetadata.GAUGE,
    "histogram": MetricMetadata.HISTOGRAM,
    "summary": MetricMetadata.SUMMARY,
}


@dataclass(slots=True)
class ConvertedMetrics:
    """The series of a request, and the metrics that are not wholly in it, by why."""

    request: WriteRequest = field(default_factory=WriteRequest)
    left_out: Counter[str] = field(default_factory=Counter)


def convert(body: bytes) -> ConvertedMetrics:
    """All points of a serialised metrics export request.

    Left out are deltas, which need a memory of what was before, exponential histograms, whose
    buckets would have to be native ones, and malformed points.
    """
    converted = ConvertedMetrics()
    described: set[str] = set()
    for resource in walk(ExportMetricsServiceRequest.FromString(body)):
        newest_ns = 0
        for metric in resource.metrics:
            if metric.is_delta or metric.kind == "empty":
                converted.left_out["delta" if metric.is_delta else "empty"] += 1
                continue
            for point in _kept(metric, converted.left_out):
                if metric.name not in described:
                    described.add(metric.name)
                    _describe(converted.request, metric)
                newest_ns = max(newest_ns, point.time_ns)
                _add(converted.request, metric, point)
        if resource.info and resource.identity and newest_ns:
            labels = resource.info | resource.identity
            series = _series(converted.request, "target_info", labels)
            series.samples.add(value=1, timestamp=_milliseconds(newest_ns))
    return converted


def _kept(metric: MetricSeries, left_out: Counter[str]) -> Iterable[Point]:
    """The points that can be written. A metric counts once, however many of its points cannot."""
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
    """A new series; remote write wants labels sorted by name."""
    series = request.timeseries.add()
    for label, value in sorted({**labels, "__name__": name}.items()):
        series.labels.add(name=label, value=value)
    return series


def _add_exemplars(series: TimeSeries, exemplars: Iterable[Exemplar]) -> None:
    for each in exemplars:
        exemplar = series.exemplars.add(value=each.value, timestamp=round(each.seconds * 1000))
        exemplar.labels.add(name="trace_id", value=each.trace_id)
        if each.span_id:
            exemplar.labels.add(name="span_id", value=each.span_id)


def _describe(request: WriteRequest, metric: MetricSeries) -> None:
    request.metadata.add(
        type=_TYPES[metric.kind],
        metric_family_name=f"{metric.name}_total" if metric.kind == "counter" else metric.name,
        help=metric.help,
        unit=metric.unit,
    )


def _milliseconds(nanoseconds: int) -> int:
    return nanoseconds // _NANOSECONDS_PER_MILLISECOND
