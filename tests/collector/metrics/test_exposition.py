"""/metrics: sources merged, each in the format its reader wants."""

from __future__ import annotations

import logging

import pytest

from sidelight import conventions
from sidelight.collector.metrics.exposition import OPENMETRICS, TEXT
from sidelight.collector.metrics.family import Family, ScrapedFamily, Series
from sidelight.collector.metrics.registry import Registry
from sidelight.otlp.prometheus.values import NumberValue
from support import openmetrics
from support.openmetrics import Fixed

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,"
    "application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (PROMETHEUS_2, OPENMETRICS),
        (PROMETHEUS_3, OPENMETRICS),
        ("application/openmetrics-text", OPENMETRICS),
        ("application/openmetrics-text;version=2.0.0", TEXT),
        ("application/openmetrics-text;q=0", TEXT),
        ("text/plain;version=0.0.4,application/openmetrics-text;q=0.5", TEXT),
        ("application/openmetrics-text;q=much", TEXT),
        ("text/html,*/*;q=0.8", TEXT),
        ("", TEXT),
        (None, TEXT),
    ],
)
def test_the_reader_gets_the_format_it_prefers(accept: str | None, content_type: str) -> None:
    """OpenMetrics 1.0.0 if it is wanted at least as much, the text format otherwise."""
    assert openmetrics.exposition().render(accept)[0] == content_type


def test_families_of_several_sources_stand_together() -> None:
    """HELP and TYPE once per family, its samples in one piece, from all sources."""
    one = Fixed(
        ScrapedFamily("vllm:a", "gauge", "A", 'vllm:a{instance="1"} 1\n'),
        Family("b", "counter", "B", []),
    )
    two = Fixed(ScrapedFamily("vllm:a", "gauge", "another help", 'vllm:a{instance="2"} 2\n'))
    _, body = openmetrics.exposition(one, two).render(PROMETHEUS_2)
    assert body.decode() == (
        "# HELP vllm:a A\n# TYPE vllm:a gauge\n"
        'vllm:a{instance="1"} 1\nvllm:a{instance="2"} 2\n'
        "# HELP b B\n# TYPE b counter\n# EOF\n"
    )


def test_a_counter_is_announced_as_each_format_has_it() -> None:
    """`_total` belongs to the TYPE line of the text format and not to OpenMetrics's."""
    source = Fixed(Family("b", "counter", 'say "b"\n', [Series("", NumberValue(1))]))
    assert openmetrics.exposition(source).render(None)[1].decode() == (
        '# HELP b_total say "b"\\n\n# TYPE b_total counter\nb_total 1\n'
    )
    assert openmetrics.exposition(source).render(PROMETHEUS_2)[1].decode() == (
        '# HELP b say \\"b\\"\\n\n# TYPE b counter\nb_total 1\n# EOF\n'
    )


def test_two_types_of_one_name_never_mix(caplog: pytest.LogCaptureFixture) -> None:
    """The first source's type is shown, the other is left out and said once in the log."""
    exposition = openmetrics.exposition(
        Fixed(Family("a", "gauge", "", [Series("", NumberValue(1))])),
        Fixed(ScrapedFamily("a", "summary", "", "a_sum 1\n")),
    )
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            _, body = exposition.render(None)
    assert b"a_sum" not in body
    # Threads of earlier tests may log, too.
    (line,) = [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("sidelight.collector.metrics.")
    ]
    assert "gauge" in line


def test_own_metrics_are_named_by_conventions() -> None:
    """Counters, gauges and histograms get name, help and buckets from their definition."""
    registry = Registry()
    registry.counter(conventions.COLLECTOR_RECEIVED, ("signal",)).labels("traces").inc(3)
    registry.gauge(conventions.COLLECTOR_LOG_BYTES).set(10)
    registry.histogram(conventions.SERVER_TTFT).labels().observe(0.3)
    families = openmetrics.families(registry)
    received = families["sidelight_collector_received"]
    assert received.documentation == conventions.METRICS[conventions.COLLECTOR_RECEIVED].meaning
    assert [(each.name, each.labels, each.value) for each in received.samples] == [
        ("sidelight_collector_received_total", {"signal": "traces"}, 3)
    ]
    assert families["sidelight_collector_log_size_bytes"].samples[0].value == 10
    bounds = [
        float(each.labels["le"])
        for each in families["gen_ai_server_time_to_first_token_seconds"].samples
        if each.name.endswith("_bucket")
    ]
    assert bounds == [*conventions.TTFT_BUCKETS, float("inf")]
    assert families["process_resident_memory_bytes"].samples[0].value > 1e6


def test_a_metric_is_what_conventions_say() -> None:
    """A counter cannot be made of what is defined as a gauge, nor anything that is undefined."""
    with pytest.raises(ValueError, match="is a gauge, not a counter"):
        Registry().counter(conventions.COLLECTOR_LAG)
    with pytest.raises(KeyError):
        Registry().gauge("sidelight.collector.undefined")


def test_a_metric_is_made_once_and_has_all_its_labels() -> None:
    """A second one of the same name, or a label set that is not whole, is an error at once."""
    registry = Registry()
    histogram = registry.histogram(conventions.SERVER_TTFT, ("service_name",))
    with pytest.raises(ValueError, match="made before"):
        registry.histogram(conventions.SERVER_TTFT)
    with pytest.raises(ValueError, match="has the labels"):
        histogram.labels()


def test_exemplars_are_only_in_openmetrics() -> None:
    """The text format has no place for them."""
    registry = Registry()
    registry.histogram(conventions.SERVER_TTFT).labels().observe(0.3, b"\xab", b"\xcd")
    exposition = openmetrics.exposition(registry)
    assert b'# {trace_id="ab",span_id="cd"} 0.3 ' in exposition.render(PROMETHEUS_2)[1]
    assert b"trace_id" not in exposition.render(None)[1]
