"""Remote write into a real Prometheus, queried back; and what it cannot hold."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from pathlib import Path

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    DataPointFlags,
    Metric,
)

from sidelight.collector.destinations.common.outcome import Delivered, Retry
from sidelight.collector.destinations.prometheus_remote_write import exporter as remote_write
from sidelight.collector.destinations.prometheus_remote_write import snappy
from sidelight.collector.destinations.prometheus_remote_write.config import RemoteWriteDestination
from sidelight.collector.destinations.prometheus_remote_write.exporter import RemoteWriter
from sidelight.collector.destinations.prometheus_remote_write.series import (
    ConvertedMetrics,
    convert,
)
from sidelight.collector.log.record import Record, encode
from support.backend import Backend, Reply
from support.prometheus import Prometheus, run_prometheus
from support.sending import Sending, opened

CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
TRACE_ID = bytes(range(1, 17))


def request(*metrics: Metric) -> ExportMetricsServiceRequest:
    made = ExportMetricsServiceRequest()
    resource = made.resource_metrics.add()
    for key, value in {
        "service.namespace": "shop",
        "service.name": "vllm",
        "service.instance.id": "pod-1",
        "k8s.node.name": "node-7",
    }.items():
        resource.resource.attributes.add(key=key).value.string_value = value
    scope = resource.scope_metrics.add()
    scope.scope.name = "engine"
    scope.metrics.extend(metrics)
    return made


def converted(*metrics: Metric) -> ConvertedMetrics:
    return convert(request(*metrics).SerializeToString())


def stored(made: ExportMetricsServiceRequest) -> Record:
    items = len(made.resource_metrics[0].scope_metrics[0].metrics)
    return Record("metrics", encode(made.SerializeToString(), "gzip"), items, time.time_ns())


def counter(
    value: int, at_ns: int, temporality: AggregationTemporality.ValueType = CUMULATIVE
) -> Metric:
    metric = Metric(name="engine.tokens", unit="{token}", description="Tokens made.")
    metric.sum.is_monotonic = True
    metric.sum.aggregation_temporality = temporality
    point = metric.sum.data_points.add(as_int=value, time_unix_nano=at_ns)
    point.attributes.add(key="model.name").value.string_value = "tiny"
    return metric


def gauge(value: float, at_ns: int, *, flags: int = 0) -> Metric:
    metric = Metric(name="kv.usage", unit="1")
    metric.gauge.data_points.add(as_double=value, time_unix_nano=at_ns, flags=flags)
    return metric


def histogram(at_ns: int) -> Metric:
    metric = Metric(name="ttft", unit="s")
    metric.histogram.aggregation_temporality = CUMULATIVE
    point = metric.histogram.data_points.add(
        time_unix_nano=at_ns,
        explicit_bounds=[0.1, 1],
        bucket_counts=[2, 3, 1],
        count=6,
        sum=4.5,
    )
    exemplar = point.exemplars.add(as_double=0.5, time_unix_nano=at_ns, trace_id=TRACE_ID)
    exemplar.span_id = bytes(8)[:-1] + b"\x01"
    return metric


def summary(at_ns: int) -> Metric:
    metric = Metric(name="gc", unit="s")
    point = metric.summary.data_points.add(time_unix_nano=at_ns, count=4, sum=2)
    point.quantile_values.add(quantile=0.5, value=0.25)
    return metric


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    with run_prometheus({}, tmp_path_factory.mktemp("prometheus")) as server:
        yield server


def build(url: str, **options: object) -> RemoteWriter:
    config = {"type": "prometheus_remote_write", "url": url, "timeout_seconds": 120} | options
    return remote_write.build(RemoteWriteDestination.model_validate(config))


@pytest.mark.real("prometheus")
async def test_prometheus_has_what_was_written(prometheus: Prometheus) -> None:
    """Each kind of metric can be queried back, with /metrics's names, labels and exemplars."""
    writer = build(f"{prometheus.base_url}/api/v1/write")
    now = time.time_ns()
    record = stored(request(counter(42, now), gauge(0.5, now), histogram(now), summary(now)))
    assert await writer.send(record) == Delivered()
    # At least once: the same again changes nothing.
    assert await writer.send(record) == Delivered()
    writer.close()
    (tokens,) = prometheus.wait_for("engine_tokens_total")
    assert tokens.value == 42
    assert tokens.labels == {
        "__name__": "engine_tokens_total",
        "job": "shop/vllm",
        "instance": "pod-1",
        "otel_scope_name": "engine",
        "model_name": "tiny",
    }
    values = {
        expression: prometheus.query(expression)[0].value
        for expression in (
            "kv_usage_ratio",
            'ttft_seconds_bucket{le="0.1"}',
            'ttft_seconds_bucket{le="1.0"}',
            'ttft_seconds_bucket{le="+Inf"}',
            "ttft_seconds_count",
            "ttft_seconds_sum",
            'gc_seconds{quantile="0.5"}',
            "gc_seconds_count",
            'target_info{k8s_node_name="node-7",job="shop/vllm"}',
        )
    }
    assert list(values.values()) == [0.5, 2, 5, 6, 6, 4.5, 0.25, 4, 1]
    (found,) = prometheus.query_exemplars("ttft_seconds_bucket")
    assert found["seriesLabels"]["le"] == "1.0"
    assert found["exemplars"][0]["labels"]["trace_id"] == TRACE_ID.hex()


@pytest.mark.real("prometheus")
async def test_what_came_late_takes_nothing_with_it(prometheus: Prometheus, tmp_path: Path) -> None:
    """Prometheus takes nothing of a request with an old sample: the others go without it."""
    now = time.time_ns()
    late, fresh = Metric(name="late"), Metric(name="fresh")
    point = late.gauge.data_points.add(as_int=1, time_unix_nano=now)
    fresh.gauge.data_points.add(as_int=7, time_unix_nano=now)
    first = stored(request(late))
    point.time_unix_nano -= 60_000_000_000
    destination = {
        "type": "prometheus_remote_write",
        "url": f"{prometheus.base_url}/api/v1/write",
    }
    with opened(tmp_path / "log") as log:
        async with Sending(log, destination) as sending:
            sending.append(first, stored(request(late, fresh)))
            await sending.settled()
    assert prometheus.query("fresh")[0].value == 7
    assert sending.tally.counts["prometheus", "delivered"] == 2
    assert sending.tally.counts["prometheus", "dropped", "dead_lettered"] == 1


@pytest.mark.real("prometheus")
async def test_a_wrong_path_is_retried(prometheus: Prometheus) -> None:
    """A url that is not the endpoint loses nothing, and is told."""
    writer = build(f"{prometheus.base_url}/api/v1/nowhere")
    outcome = await writer.send(stored(request(gauge(1, time.time_ns()))))
    assert isinstance(outcome, Retry)
    assert "correct the url" in outcome.reason
    writer.close()


async def test_without_cramjam_the_block_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    """The optional package only makes requests smaller."""
    monkeypatch.setattr(snappy, "loaded", lambda: None)
    with Backend(lambda _: Reply(204)) as backend:
        writer = build(backend.url)
        assert await writer.send(stored(request(gauge(1, 5_000_000)))) == Delivered()
        writer.close()
        body = bytes(cramjam.snappy.decompress_raw(backend.requests[0].body))
    assert (
        body
        == convert(request(gauge(1, 5_000_000)).SerializeToString()).request.SerializeToString()
    )
    assert backend.requests[0].headers["x-prometheus-remote-write-version"] == "0.1.0"


@given(st.binary(max_size=200_000))
def test_a_block_of_literals_reads_back(data: bytes) -> None:
    """Whatever is stored, any reader of snappy gets it back."""
    assert bytes(cramjam.snappy.decompress_raw(snappy.stored(data))) == data
    assert bytes(cramjam.snappy.decompress_raw(snappy.compress(data))) == data


async def test_what_remote_write_cannot_hold_is_counted() -> None:
    """Deltas and exponential histograms are left out and told; the rest is sent."""
    exponential = Metric(name="e")
    exponential.exponential_histogram.data_points.add(count=1)
    made = request(counter(1, 1, DELTA), exponential, Metric(name="empty"), gauge(2, 3_000_000))
    with Backend(lambda _: Reply(204)) as backend:
        writer = build(backend.url)
        outcome = await writer.send(stored(made))
        assert isinstance(outcome, Delivered)
        assert outcome.rejected == 3
        assert "delta, empty, exponential_histogram" in outcome.reason
        assert isinstance(await writer.send(stored(request(Metric(name="empty")))), Delivered)
        writer.close()
        assert len(backend.requests) == 1


def test_labels_are_sorted_and_none_is_empty() -> None:
    """Receivers refuse unsorted labels; Prometheus takes an empty one for none."""
    for series in convert(
        request(histogram(1), counter(1, 1)).SerializeToString()
    ).request.timeseries:
        labels = [label.name for label in series.labels]
        assert labels == sorted(labels)
        assert all(label.value for label in series.labels)


def test_a_point_without_a_value_ends_its_series() -> None:
    """No recorded value becomes Prometheus's staleness marker, bit for bit."""
    flags = DataPointFlags.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
    sample = converted(gauge(0, 1, flags=flags)).request.timeseries[0].samples[0]
    assert math.isnan(sample.value)
    assert (0x7FF0000000000002).to_bytes(8, "little") in sample.SerializeToString()
