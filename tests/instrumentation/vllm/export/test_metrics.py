"""Data points as OTLP metrics, against the generated classes."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality, Metric

from sidelight import conventions as names
from sidelight.instrumentation.vllm.export import protobuf
from sidelight.instrumentation.vllm.export.metrics import metrics_request
from sidelight.instrumentation.vllm.metrics import DataPoint, Distribution, EngineMetrics
from sidelight.instrumentation.vllm.steps import EngineStep
from support.otlp_receiver import plain

CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE


def encoded(*data_points: DataPoint, start_ns: int = 5, now_ns: int = 9) -> dict[str, Metric]:
    """The metrics of a request with these data points, by name."""
    resource = protobuf.resource({"service.name": "vllm"})
    request = metrics_request(resource, "scope", data_points, start_ns, now_ns)
    message = ExportMetricsServiceRequest.FromString(request)
    (resource_metrics,) = message.resource_metrics
    assert plain(resource_metrics.resource.attributes) == {"service.name": "vllm"}
    (scope_metrics,) = resource_metrics.scope_metrics
    assert scope_metrics.scope.name == "scope"
    return {metric.name: metric for metric in scope_metrics.metrics}


def test_values_that_come_while_others_are_exported() -> None:
    """The count of a histogram is the sum of its buckets, whatever is added at that moment."""

    class Busy(Distribution):
        def __getattribute__(self, name: str) -> Any:
            value = super().__getattribute__(name)
            if name == "counts":
                value, seen = list(value), value
                seen[0] += 1
            return value

    metrics = encoded(DataPoint(names.ENGINE_BATCH_SIZE, {}, Busy((1.0, 2.0))))
    (point,) = metrics[names.ENGINE_BATCH_SIZE].histogram.data_points
    assert point.count == sum(point.bucket_counts)


def test_every_metric_of_an_engine() -> None:
    """OTLP carries each with the name, meaning, unit and kind of the conventions."""
    engine = EngineMetrics({names.REQUEST_MODEL: "tiny", names.ENGINE_INDEX: 1})
    for at in (1.0, 1.5):
        engine.add(EngineStep(at, 2, 0, 0.4, 10, 5, 1, 100, 60, 0))
    metrics = encoded(*engine.data_points())
    assert set(metrics) == {point.metric for point in engine.data_points()}
    kinds = {"counter": "sum", "gauge": "gauge", "histogram": "histogram"}
    for name, metric in metrics.items():
        known = names.METRICS[name]
        kind = kinds[known.instrument]
        assert (metric.description, metric.unit) == (known.meaning, known.unit)
        assert metric.WhichOneof("data") == kind
        data = getattr(metric, kind)
        assert kind == "gauge" or data.aggregation_temporality == CUMULATIVE
        for point in data.data_points:
            assert (point.start_time_unix_nano, point.time_unix_nano) == (5, 9)
            assert plain(point.attributes)[names.ENGINE_INDEX] == 1
    assert metrics[names.ENGINE_STEPS].sum.is_monotonic
    assert metrics[names.ENGINE_STEPS].sum.data_points[0].as_int == 2
    assert len(metrics[names.ENGINE_KV_USAGE_TIME].sum.data_points) == len(names.SHARE_BUCKETS)


@given(
    st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False)),
    st.integers(0, 2**64 - 1),
)
def test_numbers(value: float, at_ns: int) -> None:
    """Integers stay integers, and floats floats."""
    metrics = encoded(DataPoint(names.CLIENT_ABORTS, {}, value), now_ns=at_ns)
    (point,) = metrics[names.CLIENT_ABORTS].sum.data_points
    assert point.WhichOneof("value") == ("as_int" if isinstance(value, int) else "as_double")
    assert getattr(point, str(point.WhichOneof("value"))) == value
    assert point.time_unix_nano == at_ns


@given(st.lists(st.floats(-1e9, 1e9), max_size=50))
def test_histograms(values: list[float]) -> None:
    """Buckets, count, sum, least and greatest are those of the values."""
    bounds = (0.0, 1.0, 1e3)
    distribution = Distribution(bounds)
    for value in values:
        distribution.add(value)
    metrics = encoded(DataPoint(names.ENGINE_BATCH_SIZE, {}, distribution))
    (point,) = metrics[names.ENGINE_BATCH_SIZE].histogram.data_points
    assert tuple(point.explicit_bounds) == bounds
    edges = (-math.inf, *bounds, math.inf)
    assert list(point.bucket_counts) == [
        sum(low < value <= high for value in values) for low, high in pairwise(edges)
    ]
    assert (point.count, point.sum) == (len(values), sum(values))
    # An empty histogram has neither.
    assert point.HasField("min") is point.HasField("max") is bool(values)
    if values:
        assert (point.min, point.max) == (min(values), max(values))
