"""One invalid item in a batch, at a running collector: the others are kept, and it is seen."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from support.collector import Collector, settings
from support.otlp_store import OtlpStore
from support.spans import Made, record
from support.waiting import PATIENCE_SECONDS, eventually

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
REFUSED = "sidelight_collector_refused_total"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Collector, OtlpStore]]:
    with OtlpStore() as store:
        config = settings(tmp_path, destinations=[store.destination()])
        with Collector(config, tmp_path) as collector:
            yield collector, store


def damaged(*names: str) -> bytes:
    """An export request in which the span `bad!` has a name that is not UTF-8."""
    return record(*map(Made, names)).body().replace(b"bad!", b"ba\xff!")


def refused(collector: Collector) -> float | None:
    return collector.metric(REFUSED, signal="traces", reason="malformed")


def test_over_http(running: tuple[Collector, OtlpStore]) -> None:
    """A partial success, a counter and one line in the log, without the span's words."""
    collector, store = running
    for _ in range(2):
        status, _, answer = collector.post(damaged("a", "bad!", "c"))
        partial = ExportTraceServiceResponse.FromString(answer).partial_success
        assert (status, partial.rejected_spans) == (200, 1)
        assert "not valid OTLP" in partial.error_message
    eventually(lambda: {"a", "c"} == {span.name for span in store.all_spans()})
    assert refused(collector) == 2
    lines = [line for line in collector.messages if line.startswith("refused traces")]
    assert len(lines) == 1, "a line a minute for each cause"
    assert "ba" not in lines[0].partition("): ")[2].split()


def test_over_grpc(running: tuple[Collector, OtlpStore]) -> None:
    """As over HTTP."""
    collector, store = running
    with grpc.insecure_channel(f"127.0.0.1:{collector.grpc_port}") as channel:
        answer = channel.unary_unary(EXPORT)(damaged("a", "bad!"), timeout=PATIENCE_SECONDS)
    assert ExportTraceServiceResponse.FromString(answer).partial_success.rejected_spans == 1
    eventually(lambda: {"a"} == {span.name for span in store.all_spans()})
    assert refused(collector) == 1


def test_in_json(running: tuple[Collector, OtlpStore]) -> None:
    """A lone surrogate is what JavaScript makes of a text that is cut in the middle."""
    collector, store = running
    spans = [
        {"traceId": "01" * 16, "spanId": f"{number:016x}", "name": name}
        for number, name in enumerate(("a", "cut \ud83d", "c"), 1)
    ]
    body = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}).encode()
    headers = {"Content-Type": "application/json"}
    status, _, answer = collector.post(body, headers=headers)
    assert (status, json.loads(answer)["partialSuccess"]["rejectedSpans"]) == (200, "1")
    eventually(lambda: {"a", "c"} == {span.name for span in store.all_spans()})
    assert refused(collector) == 1


def test_nothing_valid_is_still_refused_whole(running: tuple[Collector, OtlpStore]) -> None:
    """The sender is told, and so is the operator."""
    collector, _ = running
    assert collector.post(damaged("bad!"))[0] == 400
    assert refused(collector) == 1
    assert any(line.startswith("refused traces") for line in collector.messages)
