"""A real Prometheus scrapes what Sidelight serves: colon names, exemplars, labels."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from prometheus_client.parser import text_string_to_metric_families

from sidelight import conventions as names
from sidelight.collector.metrics.exposition import OPENMETRICS, Exposition
from sidelight.collector.metrics.family import ScrapedFamily
from sidelight.collector.metrics.received import ReceivedMetrics
from sidelight.collector.metrics.registry import Registry
from sidelight.collector.metrics.requests import RequestMetrics
from sidelight.collector.receivers.scrape.text_format import TextReader
from sidelight.otlp.span import SpanRecord
from support import openmetrics
from support.exposition_server import serve_pages
from support.paths import DATA
from support.prometheus import Prometheus, run_prometheus
from support.waiting import eventually

pytestmark = pytest.mark.real("prometheus")

RECORDED = DATA / "vllm" / "metrics-0.32-load.txt"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
SPAN_ID = "b7ad6b7169203331"


class Recorded:
    """Two targets that say what vLLM said when it was recorded."""

    def families(self) -> Iterator[ScrapedFamily]:
        for instance in ("a:8000", "b:8000"):
            reader = TextReader({"job": "vllm", "instance": instance})
            yield from reader.read(RECORDED.read_text(), openmetrics=False)


@dataclass(frozen=True)
class Running:
    """Prometheus, and the content types it was served."""

    prometheus: Prometheus
    served: set[str]


def exposition() -> Exposition:
    registry = Registry()
    now = time.time_ns()
    requests = RequestMetrics(registry)
    requests.observe(
        "api",
        SpanRecord(
            trace_id=bytes.fromhex(TRACE_ID),
            span_id=bytes.fromhex(SPAN_ID),
            parent_span_id=b"",
            name="chat tiny",
            kind=2,
            start_ns=now - 300_000_000,
            end_ns=now,
            attributes={names.REQUEST_MODEL: "tiny", names.TIME_TO_FIRST_TOKEN: 0.02},
            is_error=False,
        ),
    )
    received = ReceivedMetrics(registry)
    export = ExportMetricsServiceRequest()
    of_resource = export.resource_metrics.add()
    of_resource.resource.attributes.add(key="service.name").value.string_value = "engine"
    of_resource.resource.attributes.add(key="service.instance.id").value.string_value = "1"
    of_resource.resource.attributes.add(key="host.name").value.string_value = "here"
    metric = of_resource.scope_metrics.add().metrics.add(name=names.ENGINE_KV_USAGE_TIME, unit="s")
    metric.sum.is_monotonic = True
    metric.sum.aggregation_temporality = pb.AGGREGATION_TEMPORALITY_CUMULATIVE
    for bound, seconds in (("0.5", 3.0), ("1", 4.0)):
        point = metric.sum.data_points.add(as_double=seconds, time_unix_nano=now)
        point.attributes.add(key="le").value.string_value = bound
    received.ingest(export)
    return openmetrics.exposition(registry, received, Recorded())


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    shown = exposition()
    served: set[str] = set()

    def page(accept: str) -> tuple[str, bytes]:
        content_type, body = shown.render(accept)
        served.add(content_type)
        return content_type, body

    with serve_pages({"/metrics": page}) as host:
        config = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
            "scrape_configs": [
                {
                    "job_name": "sidelight",
                    "honor_labels": True,
                    "static_configs": [{"targets": [host]}],
                }
            ],
        }
        with run_prometheus(config, tmp_path_factory.mktemp("prometheus")) as prometheus:
            prometheus.wait_for("sidelight_collector_metrics_series")
            yield Running(prometheus, served)


def test_colon_names_arrive_through_openmetrics(running: Running) -> None:
    """Prometheus asks for OpenMetrics and still finds `vllm:` names, with each engine's labels."""
    assert running.served == {OPENMETRICS}
    found = running.prometheus.wait_for("vllm:kv_cache_usage_perc")
    assert {(each.labels["job"], each.labels["instance"]) for each in found} == {
        ("vllm", "a:8000"),
        ("vllm", "b:8000"),
    }
    assert running.prometheus.query('{__name__=~"vllm_.+"}') == []


def test_every_recorded_sample_arrives(running: Running) -> None:
    """Nothing is lost between vLLM's own text and Prometheus, except creation times."""
    recorded = [line for line in RECORDED.read_text().splitlines() if not line.startswith("#")]
    expected = len([line for line in recorded if "_created" not in line.partition("{")[0]])
    (count,) = running.prometheus.wait_for('count({job="vllm",instance="a:8000"})')
    assert count.value == expected
    (total,) = running.prometheus.wait_for(
        'sum(vllm:request_success_total{instance="a:8000",finished_reason="length"})'
    )
    assert total.value > 0


def test_a_histogram_leads_to_its_trace(running: Running) -> None:
    """`query_exemplars` answers with the trace and span of the request."""
    for metric in (names.SERVER_REQUEST_DURATION, names.SERVER_TTFT):
        bucket = f"{names.prometheus_name(metric)}_bucket"
        (series,) = running.prometheus.query_exemplars(bucket)
        (exemplar,) = series["exemplars"]
        assert exemplar["labels"] == {"trace_id": TRACE_ID, "span_id": SPAN_ID}


def test_quantiles_of_the_time_weighted_counter_can_be_computed(running: Running) -> None:
    """Its `le` makes `histogram_quantile` work on a counter: half of four seconds below 0.5."""
    (found,) = running.prometheus.wait_for(
        "histogram_quantile(0.75, sum by (le) "
        "(label_replace(sidelight_engine_kv_cache_usage_time_seconds_total,"
        ' "le", "+Inf", "le", "1")))'
    )
    assert found.value == pytest.approx(0.5)


def test_resource_attributes_join_by_target_info(running: Running) -> None:
    """The join that OpenTelemetry documents for Prometheus works."""
    (found,) = running.prometheus.wait_for(
        "max by (host_name) (sidelight_engine_kv_cache_usage_time_seconds_total"
        " * on (job, instance) group_left (host_name) target_info)"
    )
    assert found.labels == {"host_name": "here"}


def test_prometheus_has_nothing_to_complain_of(running: Running) -> None:
    """The target is up, and no sample or exemplar was refused."""
    # A scrape has a second, which a busy machine may miss.
    eventually(lambda: running.prometheus.unhealthy_targets() == {})
    with urllib.request.urlopen(f"{running.prometheus.base_url}/metrics") as response:
        own = {
            sample.name: sample.value
            for family in text_string_to_metric_families(response.read().decode())
            for sample in family.samples
        }
    for refused in (
        "prometheus_target_scrapes_sample_duplicate_timestamp_total",
        "prometheus_target_scrapes_sample_out_of_order_total",
        "prometheus_target_scrapes_exemplar_out_of_order_total",
        "prometheus_tsdb_exemplar_out_of_order_exemplars_total",
    ):
        assert own[refused] == 0
    assert own["prometheus_tsdb_exemplar_exemplars_appended_total"] >= 2
