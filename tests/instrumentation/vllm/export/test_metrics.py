"""Data points as OTLP metrics."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.sdk.metrics.export import HistogramDataPoint
from opentelemetry.sdk.resources import Resource

from sidelight import conventions as names
from sidelight.instrumentation.vllm.export.metrics import encode_metrics, metrics_data
from sidelight.instrumentation.vllm.metrics import DataPoint, Distribution, EngineMetrics
from sidelight.instrumentation.vllm.steps import EngineStep


def step(
    at: float, running: int | None, waiting: int = 0, kv: float = 0.0, finished: int = 0
) -> EngineStep:
    return EngineStep(at, running, waiting, kv, 10, 5, 1, 100, 60, finished)


def test_values_that_come_while_others_are_exported() -> None:
    """The count of a histogram is the sum of its buckets, whatever the worker adds meanwhile."""

    class Busy(Distribution):
        def __getattribute__(self, name: str) -> Any:
            value = super().__getattribute__(name)
            if name == "counts":
                value, seen = list(value), value
                seen[0] += 1
            return value

    data_points = [DataPoint(names.ENGINE_BATCH_SIZE, {}, Busy((1.0, 2.0)))]
    data = metrics_data(Resource({}), data_points, 5, 9)
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    (point,) = metric.data.data_points
    assert isinstance(point, HistogramDataPoint)
    assert point.count == sum(point.bucket_counts)


def test_as_otlp() -> None:
    """OTLP carries every metric with the name, unit and kind of the conventions."""
    meters = EngineMetrics({names.REQUEST_MODEL: "tiny"})
    meters.add(step(1.0, running=2, kv=0.4))
    meters.add(step(1.5, running=2, kv=0.4))
    request = ExportMetricsServiceRequest.FromString(
        encode_metrics(Resource({"service.name": "vllm"}), meters.data_points(), 5, 9)
    )
    (resource,) = request.resource_metrics
    metrics = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    assert set(metrics) == {point.metric for point in meters.data_points()}
    for name, metric in metrics.items():
        known = names.METRICS[name]
        expected = {"counter": "sum", "gauge": "gauge", "histogram": "histogram"}
        assert (metric.unit, metric.WhichOneof("data")) == (
            known.unit,
            expected[known.instrument],
        )
    point = metrics[names.ENGINE_BATCH_SIZE].histogram.data_points[0]
    assert list(point.explicit_bounds) == list(names.METRICS[names.ENGINE_BATCH_SIZE].buckets)
    assert (point.count, point.sum, sum(point.bucket_counts)) == (2, 4.0, 2)
    assert (point.start_time_unix_nano, point.time_unix_nano) == (5, 9)
    steps = metrics[names.ENGINE_STEPS].sum
    assert steps.is_monotonic
    assert steps.data_points[0].as_int == 2
