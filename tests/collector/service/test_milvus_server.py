"""A real Milvus beside the collector: its spans, its metrics, and what its searches found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from pymilvus import MilvusClient

from sidelight import conventions as names
from sidelight.collector.receivers.scrape.presets import PRESETS
from sidelight.dashboards.catalog.milvus import MILVUS_METRICS
from sidelight.dashboards.check import outcomes
from sidelight.dashboards.check.prometheus_api import PrometheusApi
from sidelight.instrumentation.vectordb import milvus
from support.collector import Collector, settings
from support.otlp_store import OtlpStore
from support.prometheus import Prometheus, run_prometheus
from support.vectordb.servers import milvus_standalone
from support.waiting import eventually

pytestmark = [pytest.mark.real("milvus", "prometheus"), pytest.mark.slow]

SEARCHES = f"{names.prometheus_name(names.RETRIEVAL_SEARCHES)}_total"
TOP = names.prometheus_name(names.RETRIEVAL_TOP_SCORE)
DIMENSION = 8
# Where Milvus 2.3.5 serves its metrics, whatever its configuration says.
METRICS_PORT = PRESETS["milvus"].port


@dataclass(frozen=True)
class Running:
    """What was asked of Milvus, and where everything went."""

    prometheus: Prometheus
    trace_id: str
    search: Span
    spans: list[Span]


def vector(seed: int) -> list[float]:
    """A vector that differs from its neighbours a little."""
    return [1.0, *(((seed * 7 + place) % 11) / 50 for place in range(DIMENSION - 1))]


def write_and_search(server: str, collection: str) -> None:
    """Search once in a collection of its own."""
    with closing(MilvusClient(server)) as client:
        client.create_collection(collection, DIMENSION, consistency_level="Strong")
        client.insert(collection, [{"id": 1, "vector": vector(1)}])
        assert client.search(collection, [vector(1)], limit=1)


def ask(server: str, provider: TracerProvider) -> str:
    """Write, then search twice within one span of an application: its trace id."""
    with closing(MilvusClient(server)) as client:
        client.create_collection("docs", DIMENSION, consistency_level="Strong")
        client.insert("docs", [{"id": i, "vector": vector(i)} for i in range(200)])
        with provider.get_tracer("app").start_as_current_span("ask") as span:
            assert len(client.search("docs", [vector(1)], limit=3)[0]) == 3
            assert client.search("docs", [vector(1)], limit=3, filter="id > 1000") == [[]]
        context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}"


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder: Path = tmp_path_factory.mktemp("milvus")
    with OtlpStore() as store:
        config = settings(folder / "collector", destinations=[store.destination()])
        config["receivers"]["scrape"] = {
            "targets": [{"preset": "milvus", "url": "http://127.0.0.1"}],
            "interval_seconds": 1,
        }
        with Collector(config, folder / "collector") as collector:
            tracing = {
                "trace.exporter": "otlp",
                # Enough, as the client's requests belong to a recorded trace.
                "trace.sampleFraction": 0,
                "trace.otlp.endpoint": f"127.0.0.1:{collector.grpc_port}",
                "trace.otlp.secure": "false",
            }
            scrape = {
                "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
                "scrape_configs": [
                    {
                        "job_name": "sidelight",
                        "honor_labels": True,
                        "static_configs": [{"targets": [f"127.0.0.1:{collector.serve_port}"]}],
                    }
                ],
            }
            provider = TracerProvider(shutdown_on_exit=False)
            exporter = OTLPSpanExporter(f"{collector.url}/v1/traces")
            provider.add_span_processor(SimpleSpanProcessor(exporter))
            try:
                with (
                    milvus_standalone(folder, tracing, metrics_port=METRICS_PORT) as server,
                    run_prometheus(scrape, folder / "prometheus") as prometheus,
                ):
                    # A counter has no rate before it was scraped twice.
                    write_and_search(server.address, "earlier")
                    prometheus.wait_for("milvus_proxy_sq_latency_count")
                    milvus.instrument(provider)
                    trace_id = ask(server.address, provider)
                    spans = eventually(lambda: _whole(store, trace_id))
                    prometheus.wait_for(f"sum({SEARCHES}) == 2")
                    search = next(each for each in spans if each.name == "search docs")
                    yield Running(prometheus, trace_id, search, spans)
            finally:
                milvus.uninstrument()
                provider.shutdown()


def _whole(store: OtlpStore, trace_id: str) -> list[Span]:
    """The spans of a trace, once both searches' spans and all that are above others are there."""
    found = [span for span in store.all_spans() if span.trace_id.hex() == trace_id]
    ids = {span.span_id for span in found}
    is_whole = all(span.parent_span_id in ids for span in found if span.parent_span_id)
    is_whole &= [span.name for span in found].count("Proxy-Search") == 2
    return found if is_whole else []


def test_the_servers_spans_hang_below_the_clients(running: Running) -> None:
    """One trace from the application through the client into Milvus's proxy and query node."""
    parents = {span.span_id: span.parent_span_id for span in running.spans}
    by_name = {span.name: span for span in running.spans}
    for name in ("milvus.proto.milvus.MilvusService/Search", "Proxy-Search", "SearchTask"):
        assert name in by_name
    searches = {span.span_id for span in running.spans if span.name == "search docs"}
    assert len(searches) == 2
    for span in running.spans:
        if span.name == "milvus.proto.milvus.MilvusService/Search":
            assert span.parent_span_id in searches
        above = span.span_id
        while above not in searches and parents.get(above):
            above = parents[above]
        assert above in searches or span.name == "ask"


def test_the_servers_spans_count_no_search(running: Running) -> None:
    """Two were made, and one of them found nothing, however many spans tell of them."""
    found = running.prometheus.wait_for(SEARCHES)
    assert {each.labels["outcome"]: each.value for each in found} == {"found": 1, "empty": 1}
    for each in found:
        assert each.labels["db_system_name"] == "milvus"
        assert each.labels["db_collection_name"] == "docs"


def test_every_figure_leads_to_the_trace(running: Running) -> None:
    """Prometheus stores the exemplars of the histograms and of the counters."""
    for expression in (
        f"{TOP}_bucket",
        f"{names.prometheus_name(names.RETRIEVAL_SCORE_GAP)}_bucket",
        f"{names.prometheus_name(names.RETRIEVAL_DURATION)}_bucket",
        f'{SEARCHES}{{outcome="empty"}}',
        f'{names.prometheus_name(names.RETRIEVAL_RECORDS)}_total{{action="returned"}}',
    ):
        found = running.prometheus.query_exemplars(expression)
        marks = [mark["labels"]["trace_id"] for series in found for mark in series["exemplars"]]
        assert marks, expression
        assert set(marks) == {running.trace_id}, expression


def test_top_scores_are_the_clients(running: Running) -> None:
    """The value in Prometheus is the one on the span."""
    (total,) = running.prometheus.wait_for(f"{TOP}_sum")
    told = {pair.key: pair.value for pair in running.search.attributes}
    assert total.value == pytest.approx(told[names.VECTOR_SCORE_TOP].double_value)
    assert total.labels["scale"] == "COSINE"
    assert total.labels["db_vector_score_direction"] == "higher_is_better"


def test_every_panel_on_milvus_has_data(running: Running) -> None:
    """Of a real Milvus, through the collector: the check finds all that the panels read."""
    running.prometheus.wait_for("sum(rate(milvus_proxy_sq_latency_count[5m])) > 0")

    def without_data() -> dict[str, str]:
        found = [
            outcome
            for outcome in outcomes.check(PrometheusApi(running.prometheus.base_url))
            if any(name.startswith("milvus_") for name in outcome.query.expression.metrics())
        ]
        assert len(found) > len(MILVUS_METRICS)
        return {
            str(outcome.query.place): outcome.reason or outcome.state
            for outcome in found
            if outcome.state != "answers"
        }

    # After a scrape that took more than its second, Prometheus shows nothing until the next.
    eventually(lambda: without_data() == {}, state=without_data)


def test_milvus_metrics_come_by_the_preset(running: Running) -> None:
    """Under their own names, as a job of its own, without what tells of Go and of Milvus's core."""
    prometheus = running.prometheus
    (up,) = prometheus.wait_for('up{job="milvus"} == 1')
    assert up.labels["instance"] == f"127.0.0.1:{METRICS_PORT}"
    counted = prometheus.wait_for(
        'sum(milvus_proxy_req_count{function_name="Search",status="success"}) >= 2'
    )
    assert counted
    assert prometheus.wait_for('milvus_proxy_sq_latency_bucket{query_type="search",le="+Inf"}')
    assert prometheus.wait_for('process_resident_memory_bytes{job="milvus"}')
    assert prometheus.query('{__name__=~"go_.+|internal_.+|knowhere_.+",job="milvus"}') == []
    families = prometheus.wait_for('count by (__name__) ({job="milvus"})')
    assert 40 < len(families) < 110
