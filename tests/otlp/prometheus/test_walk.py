"""OTLP metrics become Prometheus series: identity, labels, values, and points that are none."""

from __future__ import annotations

import math

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb

from sidelight.otlp.prometheus.values import (
    Exemplar,
    HistogramValue,
    NumberValue,
    Sample,
    SummaryValue,
    Value,
    samples,
)
from sidelight.otlp.prometheus.walk import MAX_BUCKETS, Fault, MetricSeries, Point, walk


def request(*metrics: pb.Metric, **resource: str) -> ExportMetricsServiceRequest:
    """A request of one resource and one scope."""
    made = ExportMetricsServiceRequest()
    of_resource = made.resource_metrics.add()
    for key, value in resource.items():
        of_resource.resource.attributes.add(key=key.replace("__", ".")).value.string_value = value
    of_scope = of_resource.scope_metrics.add()
    of_scope.scope.name = "app"
    of_scope.metrics.extend(metrics)
    return made


def walked(metric: pb.Metric, **resource: str) -> MetricSeries:
    """The only metric of a request."""
    (of_resource,) = walk(request(metric, **resource))
    (series,) = of_resource.metrics
    return series


def points(metric: pb.Metric, **resource: str) -> list[Point | Fault]:
    """The points of the only metric of a request."""
    return list(walked(metric, **resource).points)


def gauge(value: float = 1.0, **attributes: str) -> pb.Metric:
    """A gauge with one point."""
    metric = pb.Metric(name="level")
    point = metric.gauge.data_points.add(as_double=value, time_unix_nano=1)
    for key, text in attributes.items():
        point.attributes.add(key=key).value.string_value = text
    return metric


def histogram(counts: list[int], bounds: list[float], **attributes: str) -> pb.Metric:
    """A histogram with one point."""
    metric = pb.Metric(name="wait", unit="s")
    point = metric.histogram.data_points.add(
        bucket_counts=counts, explicit_bounds=bounds, count=sum(counts)
    )
    for key, text in attributes.items():
        point.attributes.add(key=key).value.string_value = text
    return metric


def labels(metric: pb.Metric, **resource: str) -> dict[str, str]:
    """The labels of the only point of a metric."""
    (point,) = points(metric, **resource)
    assert isinstance(point, Point)
    return point.labels


class TestIdentity:
    def test_of_a_resource(self) -> None:
        """Job and instance name it; its other attributes are told once."""
        (resource,) = walk(
            request(
                gauge(),
                service__namespace="shop",
                service__name="api",
                service__instance__id="one",
                host__name="here",
                empty="",
                job="mine",
            )
        )
        assert resource.identity == {"job": "shop/api", "instance": "one"}
        assert resource.info == {"host_name": "here", "exported_job": "mine"}

    def test_attributes_hide_nothing(self) -> None:
        """Neither the job nor the scope, nor the label of a bucket or quantile."""
        held = labels(gauge(job="mine", otel_scope_name="x", le="1"), service__name="api")
        assert held == {
            "job": "api",
            "otel_scope_name": "app",
            "exported_job": "mine",
            "exported_otel_scope_name": "x",
            "le": "1",
        }
        assert labels(histogram([1], [], le="1")) == {"otel_scope_name": "app", "exported_le": "1"}
        summary = pb.Metric(name="gc")
        point = summary.summary.data_points.add(count=1)
        point.attributes.add(key="quantile").value.string_value = "x"
        assert labels(summary) == {"otel_scope_name": "app", "exported_quantile": "x"}

    def test_an_empty_label_is_none(self) -> None:
        """To Prometheus `a=""` and no `a` are one series."""
        assert labels(gauge(a="", b="x")) == {"otel_scope_name": "app", "b": "x"}


class TestKinds:
    @pytest.mark.parametrize(
        ("field", "is_monotonic", "temporality", "expected"),
        [
            ("gauge", None, None, ("gauge", False)),
            ("sum", True, "CUMULATIVE", ("counter", False)),
            ("sum", True, "DELTA", ("counter", True)),
            ("sum", False, "DELTA", ("gauge", True)),
            ("histogram", None, "DELTA", ("histogram", True)),
            ("summary", None, None, ("summary", False)),
            ("exponential_histogram", None, "CUMULATIVE", ("exponential_histogram", False)),
            (None, None, None, ("empty", False)),
        ],
    )
    def test_type_and_temporality(
        self,
        field: str | None,
        is_monotonic: bool | None,
        temporality: str | None,
        expected: tuple[str, bool],
    ) -> None:
        """A sum that may fall is a gauge, also where it comes in deltas."""
        metric = pb.Metric(name="m")
        if field is not None:
            data = getattr(metric, field)
            data.data_points.add()
            if is_monotonic is not None:
                data.is_monotonic = is_monotonic
            if temporality is not None:
                data.aggregation_temporality = getattr(pb, f"AGGREGATION_TEMPORALITY_{temporality}")
        series = walked(metric)
        assert (series.kind, series.is_delta) == expected

    def test_a_point_that_is_no_series(self) -> None:
        """Each says why, and the others are read."""
        several = histogram([1, 2, 3], [1.0])
        several.histogram.data_points.add(bucket_counts=[1, 2], explicit_bounds=[2.0])
        malformed, good = points(several)
        assert malformed == Fault("malformed")
        assert isinstance(good, Point)
        assert points(histogram([1, 2, 3], [2.0, 1.0])) == [Fault("malformed")]
        assert points(histogram([1, 2], [math.inf])) == [Fault("malformed")]
        bounds = list(map(float, range(MAX_BUCKETS + 1)))
        assert points(histogram([1] * (MAX_BUCKETS + 2), bounds)) == [Fault("too_many_buckets")]
        valueless = pb.Metric(name="m")
        valueless.gauge.data_points.add()
        assert points(valueless) == [Fault("malformed")]
        exponential = pb.Metric(name="e")
        exponential.exponential_histogram.data_points.add(count=1)
        assert points(exponential) == [Fault("exponential_histogram")]

    def test_points_may_be_read_later(self) -> None:
        """After the next metric was asked for, which is of another kind."""
        (resource,) = walk(request(gauge(), histogram([1], [])))
        first, second = resource.metrics
        (of_histogram,) = second.points
        (of_gauge,) = first.points
        assert isinstance(of_gauge, Point)
        assert isinstance(of_gauge.value, NumberValue)
        assert isinstance(of_histogram, Point)
        assert isinstance(of_histogram.value, HistogramValue)

    def test_a_series_that_has_ended(self) -> None:
        """The flag is told, though the point has no value."""
        metric = pb.Metric(name="m")
        metric.gauge.data_points.add(flags=pb.DATA_POINT_FLAGS_NO_RECORDED_VALUE_MASK)
        (point,) = points(metric)
        assert isinstance(point, Point)
        assert point.has_ended

    def test_exemplars_are_in_their_bucket_oldest_first(self) -> None:
        """A bound belongs to the bucket below it; without a trace it is no exemplar."""
        metric = histogram([2, 1, 1], [1.0, 2.0])
        point = metric.histogram.data_points[0]
        for value, at, trace_id in ((1.0, 2, b"\1" * 16), (0.5, 1, b"\2" * 16), (9.0, 3, b"")):
            point.exemplars.add(as_double=value, time_unix_nano=at * 10**9, trace_id=trace_id)
        (found,) = points(metric)
        assert isinstance(found, Point)
        assert isinstance(found.value, HistogramValue)
        assert found.value.exemplars == {
            0: (Exemplar("02" * 16, "", 0.5, 1.0), Exemplar("01" * 16, "", 1.0, 2.0))
        }


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("gauge", NumberValue(2), [("", "", "", 2, ())]),
        ("counter", NumberValue(2), [("_total", "", "", 2, ())]),
        ("info", NumberValue(1), [("_info", "", "", 1, ())]),
        (
            "histogram",
            HistogramValue((0.5, 2e6), [1, 0, 3], 7.5),
            [
                ("_bucket", "le", "0.5", 1, ()),
                ("_bucket", "le", "2e+06", 1, ()),
                ("_bucket", "le", "+Inf", 4, ()),
                ("_count", "", "", 4, ()),
                ("_sum", "", "", 7.5, ()),
            ],
        ),
        (
            "histogram",
            HistogramValue((), [2]),
            [("_bucket", "le", "+Inf", 2, ()), ("_count", "", "", 2, ())],
        ),
        (
            "summary",
            SummaryValue([(0.5, 1.5)], 3, 4.5),
            [
                ("", "quantile", "0.5", 1.5, ()),
                ("_count", "", "", 3, ()),
                ("_sum", "", "", 4.5, ()),
            ],
        ),
    ],
)
def test_samples_of_a_value(kind: str, value: Value, expected: list[Sample]) -> None:
    """Cumulative buckets up to infinity, and the suffixes that Prometheus wants."""
    assert list(samples(kind, value)) == expected


def test_only_counters_and_buckets_carry_exemplars() -> None:
    """OpenMetrics allows them nowhere else."""
    exemplars = (Exemplar("0" * 32, "", 1.0, 1.0),)
    assert next(samples("counter", NumberValue(1, exemplars)))[-1] == exemplars
    assert next(samples("gauge", NumberValue(1, exemplars)))[-1] == ()
