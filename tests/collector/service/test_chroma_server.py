"""A real Chroma server, which has no /metrics, sends its own metrics and spans by OTLP."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from support.collector import Collector, settings
from support.otlp_store import OtlpStore
from support.paths import DATA
from support.vectordb.servers import chroma, python_of
from support.waiting import eventually

pytestmark = [pytest.mark.real("chroma"), pytest.mark.slow]

RECORDED = DATA / "vectordb" / "chroma-otel-names.txt"
_QUERY = "POST /api/v2/tenants/{tenant}/databases/{database}/collections/{collection_id}/query"
WORK = """
import sys, chromadb
docs = chromadb.HttpClient("127.0.0.1", int(sys.argv[1])).create_collection("docs")
docs.add(ids=["a", "b"], embeddings=[[0.0] * 8, [1.0] * 8])
assert docs.query(query_embeddings=[[0.9] * 8], n_results=1)["ids"] == [["b"]]
"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Collector, OtlpStore]]:
    """A collector and its destination, once Chroma has told of a collection's use."""
    folder = tmp_path_factory.mktemp("chroma")
    with (
        pytest.MonkeyPatch.context() as environment,
        OtlpStore() as store,
        Collector(settings(folder, destinations=[store.destination()]), folder) as collector,
    ):
        endpoint = f"http://127.0.0.1:{collector.grpc_port}"
        telemetry = {"open_telemetry": {"service_name": "chroma", "endpoint": endpoint}}
        # Otherwise once a minute.
        environment.setenv("OTEL_METRIC_EXPORT_INTERVAL", "1000")
        with chroma(folder, telemetry) as server:
            port = server.address.rpartition(":")[2]
            done = subprocess.run(
                [python_of("chroma"), "-c", WORK, port], capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr
            eventually(lambda: collector.metric("collection_query_total", job="chroma"))
            eventually(lambda: _QUERY in {span.name for span in store.all_spans()})
            yield collector, store


def test_its_metrics_are_on_the_collectors_page(running: tuple[Collector, OtlpStore]) -> None:
    """Under Chroma's names, with its service as the job; none is dropped."""
    collector, _ = running
    assert collector.metric("collection_query_total", job="chroma") == 1
    assert collector.metric("collection_add_total", job="chroma") == 1
    assert collector.metric("chroma_system_channel_request_latency_ms_count", job="chroma") > 0
    assert collector.metric("sidelight_collector_metrics_points_dropped_total") == 0


def test_its_spans_arrive_as_they_are(running: tuple[Collector, OtlpStore]) -> None:
    """With the names that were recorded; none of them counts as a search of a client."""
    collector, store = running
    recorded = RECORDED.read_text().partition("SPANS")[2].splitlines()
    found = {span.name for span in store.all_spans()}
    assert _QUERY in found & set(recorded)
    assert collector.metric("sidelight_retrieval_searches_total") == 0


def test_it_starts_traces_of_its_own(running: tuple[Collector, OtlpStore]) -> None:
    """Chroma reads no traceparent: its request spans are roots, whatever the client."""
    _, store = running
    requests = [span for span in store.all_spans() if span.name.startswith(("POST ", "GET "))]
    assert requests
    assert not any(span.parent_span_id for span in requests)
