"""A metric reads the same from a scrape of /metrics and from remote write."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from prometheus_client.parser import text_string_to_metric_families

from sidelight.collector.destinations.prometheus_remote_write.series import convert
from sidelight.collector.metrics.received import ReceivedMetrics
from sidelight.collector.metrics.registry import Registry
from support import openmetrics

Series = dict[tuple[str, frozenset[tuple[str, str]]], str]

_CUMULATIVE = pb.AGGREGATION_TEMPORALITY_CUMULATIVE
# Names that fall together, that the walk itself uses, and that Prometheus does not allow.
_KEYS = st.sampled_from(
    ["a", "a.b", "a-b", "job", "instance", "le", "quantile", "otel_scope_name", "2x", "", "ä"]
)
_TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
_VALUES = st.one_of(
    _TEXTS.map(lambda text: AnyValue(string_value=text)),
    st.booleans().map(lambda flag: AnyValue(bool_value=flag)),
    st.integers(-9, 9).map(lambda number: AnyValue(int_value=number)),
    st.just(AnyValue()),
)
_NUMBERS = st.floats(allow_nan=False) | st.integers(-(2**53), 2**53).map(float)
_ATTRIBUTES = st.dictionaries(_KEYS, _VALUES, max_size=3)
_BOUNDS = st.lists(st.floats(-1e9, 1e9), unique=True, max_size=4).map(sorted)


def pairs(attributes: dict[str, AnyValue]) -> list[KeyValue]:
    """OTLP's pairs of attributes."""
    return [KeyValue(key=key, value=value) for key, value in attributes.items()]


@st.composite
def metrics(draw: st.DrawFn) -> list[pb.Metric]:
    """Metrics of every kind, some with several points; names that never share a family."""
    made = []
    units = st.sampled_from(["", "s", "By", "1", "{thing}", "m/s"])
    for index, kind in enumerate(
        draw(st.lists(st.sampled_from(["gauge", "sum", "histogram", "summary"]), max_size=4))
    ):
        metric = pb.Metric(name=f"m{index}.x", unit=draw(units), description=draw(_TEXTS))
        for at in range(1, draw(st.integers(1, 3)) + 1):
            attributes = pairs(draw(_ATTRIBUTES))
            common = {"time_unix_nano": at * 10**9, "attributes": attributes}
            match kind:
                case "gauge":
                    metric.gauge.data_points.add(as_double=draw(_NUMBERS), **common)
                case "sum":
                    metric.sum.is_monotonic = index % 2 == 0
                    metric.sum.aggregation_temporality = _CUMULATIVE
                    metric.sum.data_points.add(as_double=draw(_NUMBERS), **common)
                case "histogram":
                    metric.histogram.aggregation_temporality = _CUMULATIVE
                    bounds = [0.5, 2.0] if at > 1 else draw(_BOUNDS)
                    counts = draw(st.lists(st.integers(0, 9), min_size=len(bounds) + 1, max_size=5))
                    point = metric.histogram.data_points.add(**common)
                    point.explicit_bounds.extend(bounds)
                    point.bucket_counts.extend(counts)
                    point.count = sum(counts)
                case "summary":
                    summary = metric.summary.data_points.add(count=at, sum=draw(_NUMBERS), **common)
                    summary.quantile_values.add(quantile=0.5, value=draw(_NUMBERS))
        made.append(metric)
    return made


def scraped(request: ExportMetricsServiceRequest) -> Series:
    """What prometheus_client reads from the page."""
    received = ReceivedMetrics(Registry())
    received.ingest(request)
    # The text format: a parser of OpenMetrics refuses negative counters, which senders can make.
    _, page = openmetrics.exposition(received).render("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): repr(float(sample.value))
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def written(request: ExportMetricsServiceRequest) -> Series:
    """The newest sample of each series of the write request."""
    newest: Series = {}
    for series in convert(request.SerializeToString()).request.timeseries:
        labels = {label.name: label.value for label in series.labels}
        name = labels.pop("__name__")
        newest[name, frozenset(labels.items())] = repr(series.samples[0].value)
    return newest


def without_buckets_of_the_past(series: Series, other: Series) -> Series:
    """A histogram that changed its bounds has, in a write request, those of both."""
    return {
        key: value
        for key, value in series.items()
        if key in other or not key[0].endswith("_bucket")
    }


@given(metrics(), _ATTRIBUTES, st.sampled_from(["", "app"]))
def test_both_have_the_same_series(
    made: list[pb.Metric], resource: dict[str, AnyValue], service: str
) -> None:
    """Names, labels and values, whatever the sender's names hold."""
    request = ExportMetricsServiceRequest()
    of_resource = request.resource_metrics.add()
    of_resource.resource.attributes.extend(pairs(resource))
    if service:
        of_resource.resource.attributes.add(key="service.name").value.string_value = service
    of_scope = of_resource.scope_metrics.add()
    of_scope.scope.name = service
    of_scope.metrics.extend(made)
    page = scraped(request)
    assert without_buckets_of_the_past(written(request), page) == page


def test_numbers_that_are_none_are_the_same_too() -> None:
    """NaN and infinities."""
    request = ExportMetricsServiceRequest()
    of_scope = request.resource_metrics.add().scope_metrics.add()
    for index, value in enumerate((math.nan, math.inf, -math.inf)):
        metric = of_scope.metrics.add(name=f"m{index}")
        metric.gauge.data_points.add(as_double=value, time_unix_nano=1)
    assert written(request) == scraped(request)
