"""Metrics that come by OTLP: the SDK's own exports, and points that are late, doubled or odd."""

from __future__ import annotations

from typing import Literal

import pytest
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import (
    ExplicitBucketHistogramAggregation,
    ExponentialBucketHistogramAggregation,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import Metric
from prometheus_client.samples import Sample

from sidelight import conventions
from sidelight.collector.metrics.received import ReceivedMetrics
from sidelight.collector.metrics.registry import Registry
from sidelight.otlp.prometheus.names import family_name
from support import openmetrics

DELTA = pb.AGGREGATION_TEMPORALITY_DELTA
CUMULATIVE = pb.AGGREGATION_TEMPORALITY_CUMULATIVE
WHERE = {"job": "shop/api", "instance": "one"}
RESOURCE = {
    "service.namespace": "shop",
    "service.name": "api",
    "service.instance.id": "one",
    "host.name": 'a "host"',
}


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Received:
    """`ReceivedMetrics` with its registry, read from OpenMetrics."""

    def __init__(self, max_series: int = 100) -> None:
        self.registry = Registry()
        self.clock = Clock()
        self.metrics = ReceivedMetrics(self.registry, max_series=max_series, clock=self.clock)

    def ingest(self, *metrics: pb.Metric, **resource: str) -> None:
        request = ExportMetricsServiceRequest()
        of_resource = request.resource_metrics.add()
        for key, value in (resource or RESOURCE).items():
            of_resource.resource.attributes.add(key=key).value.string_value = value
        of_resource.scope_metrics.add().metrics.extend(metrics)
        self.metrics.ingest(request)

    def families(self) -> dict[str, Metric]:
        return openmetrics.families(self.metrics)

    def samples(self, name: str) -> list[Sample]:
        return openmetrics.samples(name, self.metrics)

    def value(self, name: str) -> float:
        (sample,) = self.samples(name)
        return sample.value

    def dropped(self) -> dict[str, float]:
        name = conventions.prometheus_name(conventions.COLLECTOR_METRIC_POINTS_DROPPED)
        found = openmetrics.samples(f"{name}_total", self.registry)
        return {sample.labels["reason"]: sample.value for sample in found}


def counter(
    value: int,
    *,
    time: int,
    start: int = 1,
    temporality: int = CUMULATIVE,
    attributes: dict[str, str] | None = None,
) -> pb.Metric:
    metric = pb.Metric(name="jobs", unit="{job}", description="Jobs done.")
    metric.sum.is_monotonic = True
    metric.sum.aggregation_temporality = temporality  # type: ignore[assignment]
    point = metric.sum.data_points.add(
        as_int=value, time_unix_nano=time, start_time_unix_nano=start
    )
    for key, text in (attributes or {}).items():
        point.attributes.add(key=key).value.string_value = text
    return metric


def histogram(
    counts: list[int], bounds: list[float], *, time: int, temporality: int = CUMULATIVE
) -> pb.Metric:
    metric = pb.Metric(name="wait", unit="s")
    metric.histogram.aggregation_temporality = temporality  # type: ignore[assignment]
    metric.histogram.data_points.add(
        bucket_counts=counts,
        explicit_bounds=bounds,
        count=sum(counts),
        sum=float(sum(counts)),
        time_unix_nano=time,
    )
    return metric


def export(reader: InMemoryMetricReader) -> ExportMetricsServiceRequest:
    data = reader.get_metrics_data()
    assert data is not None
    return encode_metrics(data)


@pytest.mark.parametrize(
    "temporality", [AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA]
)
def test_what_the_sdk_exports_is_shown_alike_in_both_temporalities(
    temporality: AggregationTemporality,
) -> None:
    """Counters, gauges and histograms of the real SDK, over two exports, with exemplars."""
    reader = InMemoryMetricReader({Counter: temporality, Histogram: temporality})
    provider = MeterProvider([reader], resource=Resource(RESOURCE))
    meter = provider.get_meter("app", "1.2")
    jobs = meter.create_counter("app.jobs", "{job}", "Jobs done.")
    wait = meter.create_histogram(
        "app.wait", "s", explicit_bucket_boundaries_advisory=[0.1, 1.0, 10.0]
    )
    level = meter.create_gauge("app.level", "1")
    depth = meter.create_up_down_counter("app.depth")
    received = Received()
    tracer = TracerProvider().get_tracer("app")
    for value in (0.5, 5.0):
        with tracer.start_as_current_span("work") as span:
            jobs.add(2, {"kind": "x"})
            wait.record(value)
        level.set(value)
        depth.add(1)
        received.metrics.ingest(export(reader))

    scope = {"otel_scope_name": "app", "otel_scope_version": "1.2"}
    (done,) = received.samples("app_jobs_total")
    assert done.value == 4
    assert done.labels == {**WHERE, **scope, "kind": "x"}
    assert done.exemplar is not None
    assert done.exemplar.labels["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    buckets = {
        each.labels["le"]: each.value for each in received.samples("app_wait_seconds_bucket")
    }
    assert buckets == {"0.1": 0, "1.0": 1, "10.0": 2, "+Inf": 2}
    with_exemplar = [
        (each.labels["le"], each.exemplar.value)
        for each in received.samples("app_wait_seconds_bucket")
        if each.exemplar
    ]
    assert with_exemplar == [("1.0", 0.5), ("10.0", 5.0)]
    assert received.value("app_wait_seconds_sum") == 5.5
    assert received.value("app_level_ratio") == 5.0
    assert received.value("app_depth") == 2
    assert received.dropped() == {}


def test_the_resource_is_told_once_by_target_info() -> None:
    """Attributes beyond job and instance are labels of target_info, not of every series."""
    received = Received()
    received.ingest(counter(1, time=2))
    assert received.families()["target"].type == "info"
    (info,) = received.samples("target_info")
    assert info.labels == {**WHERE, "host_name": 'a "host"'}


def test_a_restarted_process_starts_anew() -> None:
    """A later start time replaces the value, as Prometheus expects of a reset counter."""
    received = Received()
    received.ingest(counter(100, time=10, start=1))
    received.ingest(counter(3, time=20, start=15))
    assert received.value("jobs_total") == 3


def test_a_late_point_changes_nothing() -> None:
    """Points older than the last, or of a process since restarted, are dropped and counted."""
    received = Received()
    received.ingest(counter(5, time=20, start=15))
    received.ingest(counter(4, time=19, start=15))
    received.ingest(counter(100, time=30, start=1))
    assert received.value("jobs_total") == 5
    assert received.dropped() == {"late": 2}


def test_a_delta_that_is_sent_again_counts_once() -> None:
    """Senders repeat what they were not sure of; a delta is told by its time."""
    received = Received()
    for time in (10, 10, 20):
        received.ingest(counter(5, time=time, temporality=DELTA))
        received.ingest(histogram([1, 0], [1.0], time=time, temporality=DELTA))
    assert received.value("jobs_total") == 10
    assert received.value("wait_seconds_count") == 2


def test_new_bounds_replace_a_histogram() -> None:
    """Buckets of different bounds are never added up."""
    received = Received()
    received.ingest(histogram([1, 2], [1.0], time=10, temporality=DELTA))
    received.ingest(histogram([0, 1, 0], [1.0, 2.0], time=20, temporality=DELTA))
    buckets = {each.labels["le"]: each.value for each in received.samples("wait_seconds_bucket")}
    assert buckets == {"1.0": 0, "2.0": 1, "+Inf": 1}


def test_the_time_weighted_counter_keeps_its_le() -> None:
    """A counter's attribute `le` stays as it was sent: quantiles are computed over it."""
    definition = conventions.METRICS[conventions.ENGINE_KV_USAGE_TIME]
    metric = pb.Metric(name=definition.name, unit=definition.unit)
    metric.sum.is_monotonic = True
    metric.sum.aggregation_temporality = CUMULATIVE
    point = metric.sum.data_points.add(as_double=2.5, time_unix_nano=2)
    point.attributes.add(key="le").value.string_value = "0.975"
    received = Received()
    received.ingest(metric)
    (sample,) = received.samples("sidelight_engine_kv_cache_usage_time_seconds_total")
    assert (sample.labels["le"], sample.value) == ("0.975", 2.5)


def test_a_series_that_is_no_longer_sent_goes() -> None:
    """After the stale time a series and its target_info are gone, and their room is free."""
    received = Received(max_series=1)
    received.ingest(counter(1, time=2))
    received.clock.now += 301
    assert received.families() == {}
    received.ingest(counter(1, time=2, attributes={"kind": "x"}))
    assert received.value("jobs_total") == 1


def test_a_series_marked_as_ended_goes_at_once() -> None:
    """The flag for "no recorded value" ends a series."""
    received = Received()
    received.ingest(counter(1, time=2))
    ended = counter(0, time=3)
    ended.sum.data_points[0].flags = pb.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK
    received.ingest(ended)
    assert received.samples("jobs_total") == []


def test_the_number_of_series_is_bounded() -> None:
    """Beyond the bound new series are dropped and counted; known ones go on."""
    received = Received(max_series=3)
    for time in (10, 20):
        for index in range(5):
            received.ingest(counter(time, time=time, attributes={"kind": str(index)}))
    assert [each.value for each in received.samples("jobs_total")] == [20, 20, 20]
    assert received.dropped() == {"series_limit": 4}


def test_what_cannot_be_shown_is_counted_by_reason() -> None:
    """Odd points are dropped one by one; the rest of the request goes on."""
    received = Received()
    same_name = pb.Metric(name="jobs")
    same_name.gauge.data_points.add(as_int=1, time_unix_nano=1)
    received.ingest(
        counter(1, time=2),
        same_name,
        histogram([1, 2, 3], [1.0], time=2),
        histogram([1, 2, 3], [2.0, 1.0], time=2),
        counter(1, time=2, attributes={"kind": "x" * 5000}),
        counter(7, time=2, attributes={"kind": "fine"}),
        pb.Metric(name="nothing"),
    )
    assert received.dropped() == {"malformed": 2, "labels_too_long": 1}
    (hidden,) = received.samples("sidelight_collector_metrics_series_hidden")
    assert hidden.labels == {"source": "received", "reason": "type_conflict"}
    assert hidden.value == 1
    assert [each.value for each in received.samples("jobs_total")] == [1, 7]


def test_exponential_histograms_are_counted_and_not_shown() -> None:
    """Their buckets move, so classic buckets made of them would lie under rate()."""
    reader = InMemoryMetricReader(
        preferred_aggregation={Histogram: ExponentialBucketHistogramAggregation()}
    )
    provider = MeterProvider([reader])
    provider.get_meter("app").create_histogram("wait").record(1.0)
    received = Received()
    received.metrics.ingest(export(reader))
    assert received.dropped() == {"exponential_histogram": 1}
    assert received.families() == {}


def test_a_histogram_without_buckets_has_count_and_sum() -> None:
    """No bounds: one bucket up to infinity."""
    reader = InMemoryMetricReader(
        preferred_aggregation={Histogram: ExplicitBucketHistogramAggregation(boundaries=())}
    )
    provider = MeterProvider([reader])
    provider.get_meter("app").create_histogram("wait").record(3.0)
    received = Received()
    received.metrics.ingest(export(reader))
    assert received.value("wait_bucket") == 1
    assert received.value("wait_sum") == 3.0


def test_summaries_keep_their_quantiles() -> None:
    """Quantiles, sum and count, as the sender computed them."""
    metric = pb.Metric(name="rpc", unit="ms")
    point = metric.summary.data_points.add(count=4, sum=10.0, time_unix_nano=2)
    point.quantile_values.add(quantile=0.5, value=2.0)
    received = Received()
    received.ingest(metric)
    (quantile,) = received.samples("rpc_milliseconds")
    assert (quantile.labels["quantile"], quantile.value) == ("0.5", 2.0)
    assert received.value("rpc_milliseconds_count") == 4


def test_attributes_never_hide_the_job() -> None:
    """An attribute called `job` does not replace the one from the resource."""
    received = Received()
    received.ingest(counter(1, time=2, attributes={"job": "mine", "a.b": "1", "a-b": "2"}))
    (sample,) = received.samples("jobs_total")
    assert sample.labels == {**WHERE, "exported_job": "mine", "a_b": "2;1"}


@pytest.mark.parametrize("metric", conventions.METRICS.values(), ids=lambda metric: metric.name)
def test_our_own_names_agree_with_the_rules(metric: conventions.Metric) -> None:
    """What conventions call a metric in Prometheus is what arrives there by OTLP."""
    kind = metric.instrument if metric.instrument in ("counter", "gauge") else "other"
    assert family_name(metric.name, metric.unit, kind) == conventions.prometheus_name(metric.name)


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("http.server.duration", "ms", "other", "http_server_duration_milliseconds"),
        ("system.io", "By/s", "gauge", "system_io_bytes_per_second"),
        ("requests.total", "{request}", "counter", "requests"),
        ("wait_seconds", "s", "other", "wait_seconds"),
        ("cpu.share", "1", "gauge", "cpu_share_ratio"),
        ("cpu.share", "1", "counter", "cpu_share"),
        ("odd name—here", "{x}", "gauge", "odd_name_here"),
        ("2xx", "", "gauge", "_2xx"),
        ("vllm:x", "", "gauge", "vllm:x"),
    ],
)
def test_names_follow_the_compatibility_rules(
    name: str, unit: str, kind: Literal["counter", "gauge", "other"], expected: str
) -> None:
    """Units spelled out, odd characters as one underscore, no doubled suffix."""
    assert family_name(name, unit, kind) == expected
