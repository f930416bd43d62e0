"""Data points as OTLP metrics, in OpenTelemetry's data model and by its encoder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sidelight import conventions as names
from sidelight.instrumentation.vllm.metrics import DataPoint, Distribution

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import Metric, MetricsData
    from opentelemetry.sdk.resources import Resource


def encode_metrics(
    resource: Resource, data_points: Iterable[DataPoint], start_ns: int, now_ns: int
) -> bytes:
    """`data_points` as an `ExportMetricsServiceRequest`, by OpenTelemetry's own encoder."""
    from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics as encode

    return encode(metrics_data(resource, data_points, start_ns, now_ns)).SerializeToString()


def metrics_data(
    resource: Resource, data_points: Iterable[DataPoint], start_ns: int, now_ns: int
) -> MetricsData:
    """`data_points` in OpenTelemetry's data model, cumulative from `start_ns` to `now_ns`."""
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        Gauge,
        Histogram,
        HistogramDataPoint,
        Metric,
        MetricsData,
        NumberDataPoint,
        ResourceMetrics,
        ScopeMetrics,
        Sum,
    )
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    points: dict[str, list[Any]] = {}
    for data_point in data_points:
        value = data_point.value
        labels_and_times = (data_point.attributes, start_ns, now_ns)
        if isinstance(value, Distribution):
            # Copied once, because the processing thread goes on adding.
            counts = tuple(value.counts)
            count = sum(counts)
            point: Any = HistogramDataPoint(
                *labels_and_times,
                count=count,
                sum=value.total,
                bucket_counts=counts,
                explicit_bounds=value.bounds,
                min=value.minimum if count else 0.0,
                max=value.maximum if count else 0.0,
            )
        else:
            point = NumberDataPoint(*labels_and_times, value=value)
        points.setdefault(data_point.metric, []).append(point)

    cumulative = AggregationTemporality.CUMULATIVE
    metrics: list[Metric] = []
    for name, same_metric in points.items():
        definition = names.METRICS[name]
        data: Sum | Gauge | Histogram
        if definition.instrument == "histogram":
            data = Histogram(same_metric, cumulative)
        elif definition.instrument == "counter":
            data = Sum(same_metric, cumulative, is_monotonic=True)
        else:
            data = Gauge(same_metric)
        metrics.append(Metric(name, definition.meaning, definition.unit, data))
    scope = InstrumentationScope(names.SCOPE_VLLM)
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(scope, metrics, "")], "")])
