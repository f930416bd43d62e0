"""What leaves the process over a real socket, and what happens when nobody takes it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sidelight import conventions as names
from sidelight.instrumentation.vllm.environment import DEFAULT_ENDPOINT
from sidelight.instrumentation.vllm.export import exporter, traces
from sidelight.instrumentation.vllm.export.exporter import OtlpExporter
from sidelight.instrumentation.vllm.export.http_client import OtlpHttpClient, make_client
from sidelight.instrumentation.vllm.logger import Occasions
from sidelight.instrumentation.vllm.metrics import DataPoint
from support.backend import Reply
from support.logged import messages_of, records_of
from support.otlp_receiver import OtlpReceiver
from support.waiting import PATIENCE_SECONDS, eventually

FAST = {"OTEL_BSP_SCHEDULE_DELAY": "20", "OTEL_METRIC_EXPORT_INTERVAL": "40"}


@pytest.fixture(autouse=True)
def short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try again at once; how the pauses grow is not what is tried here."""
    monkeypatch.setattr(exporter, "MAX_BACKOFF_SECONDS", 0.02)


@pytest.fixture
def receiver() -> Iterator[OtlpReceiver]:
    with OtlpReceiver() as made:
        yield made


@contextmanager
def exporting(url: str, **environ: str) -> Iterator[OtlpExporter]:
    variables = {**FAST, "OTEL_EXPORTER_OTLP_ENDPOINT": url, **environ}
    made = OtlpExporter(
        {"service.name": "vllm"},
        make_client("traces", variables),
        make_client("metrics", variables),
        lambda: [DataPoint(names.CLIENT_ABORTS, {}, 3)],
        variables,
    )
    made.start()
    try:
        yield made
    finally:
        made.stop(PATIENCE_SECONDS)


def span(name: str = "chat", **attributes: str) -> bytes:
    return traces.encode_span(
        traces.OtlpSpan(bytes(16), bytes(8), b"", name, traces.SERVER, 1, 2, attributes)
    )


def test_spans_and_metrics_arrive(receiver: OtlpReceiver) -> None:
    """Spans go to /v1/traces and metrics to /v1/metrics, both with the resource."""
    with exporting(receiver.url) as box:
        box.put(span("a"))
        box.put(span("b"))
        spans = receiver.wait_for(lambda: len(receiver.spans()) == 2 and receiver.spans())
        points = receiver.wait_for(receiver.metrics)
    assert [(each.name, each.scope) for each in spans] == [
        ("a", names.SCOPE_VLLM),
        ("b", names.SCOPE_VLLM),
    ]
    assert spans[0].resource == {"service.name": "vllm"}
    assert points[names.CLIENT_ABORTS][0].as_int == 3


def test_stopping_closes_the_connections(receiver: OtlpReceiver) -> None:
    """Those of traces and of metrics."""
    with exporting(receiver.url) as box:
        box.put(span("a"))
        receiver.wait_for(receiver.spans)
        receiver.wait_for(receiver.metrics)
    for client in (box._traces, box._metrics):
        assert client is not None
        assert client._connection is None


def test_headers_and_compression(receiver: OtlpReceiver) -> None:
    """Headers and gzip are taken from OpenTelemetry's variables, those of the signal first."""
    variables = {
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20key,x-project=demo",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_EXPORTER_OTLP_METRICS_HEADERS": "authorization=other",
    }
    with exporting(receiver.url, **variables) as box:
        box.put(span("a"))
        assert receiver.wait_for(receiver.spans)[0].name == "a"
        receiver.wait_for(receiver.metrics)
    headers = {request.path: request.headers for request in receiver.requests}
    assert headers["/v1/traces"]["authorization"] == "Bearer key"
    assert headers["/v1/traces"]["x-project"] == "demo"
    assert headers["/v1/traces"]["content-type"] == "application/x-protobuf"
    assert headers["/v1/metrics"]["authorization"] == "other"


def test_endpoints() -> None:
    """A base URL gets the signal's path, a signal's own URL is complete, the default is here."""

    def url(**environ: str) -> str:
        client = OtlpHttpClient("traces", environ)
        return client.origin + client.path

    assert url() == f"{DEFAULT_ENDPOINT}/v1/traces"
    assert url(OTEL_EXPORTER_OTLP_ENDPOINT="http://c:1/x/") == "http://c:1/x/v1/traces"
    assert url(OTEL_EXPORTER_OTLP_TRACES_ENDPOINT="https://c/in") == "https://c/in"
    assert make_client("traces", {"OTEL_TRACES_EXPORTER": "none"}) is None


def test_busy_endpoint_loses_nothing(receiver: OtlpReceiver) -> None:
    """What an endpoint cannot take now is sent again, in order, and once."""
    replies = iter([Reply(503), Reply(429), Reply(200)])
    receiver.respond = lambda request: (
        next(replies, Reply()) if request.path == "/v1/traces" else Reply()
    )
    with exporting(receiver.url) as box:
        box.put(span("a"))
        receiver.wait_for(lambda: len(receiver.spans()) >= 3)
        assert box.dropped == 0
    assert {each.name for each in receiver.spans()} == {"a"}
    assert len(receiver.spans()) == 3


def test_refused_spans_are_counted(receiver: OtlpReceiver) -> None:
    """What an endpoint will never take is dropped and counted, and does not block the rest."""
    receiver.respond = lambda _: Reply(400)
    with exporting(receiver.url) as box:
        box.put(span("a"))
        receiver.wait_for(lambda: box.dropped == 1)
        receiver.respond = lambda _: Reply()
        box.put(span("b"))
        receiver.wait_for(lambda: [each for each in receiver.spans() if each.name == "b"])


def test_one_line_for_many_failures(
    receiver: OtlpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    """An endpoint that fails costs one line, and one for what is lost at the end.

    They name the endpoint without its secrets.
    """
    receiver.respond = lambda _: Reply(fault="no answer")
    url = receiver.url.replace("//", "//user:password@")
    with caplog.at_level(logging.DEBUG), exporting(url) as box:
        box.put(span("a"))
        eventually(lambda: len(receiver.requests) > 4)
    failing, lost = messages_of(caplog)
    assert f" to http://127.0.0.1:{receiver.port} (" in failing
    assert f" http://127.0.0.1:{receiver.port} did not take before vLLM ended: 1." in lost
    for line in (failing, lost):
        assert line.endswith("OTLP/HTTP address, usually with port 4318.")
        assert "password" not in line


def test_a_missing_token(receiver: OtlpReceiver, caplog: pytest.LogCaptureFixture) -> None:
    """A collector that refuses us needs another remedy than one that is away."""
    receiver.respond = lambda _: Reply(401)
    with caplog.at_level(logging.WARNING), exporting(receiver.url) as box:
        box.put(span("a"))
        receiver.wait_for(lambda: messages_of(caplog))
    assert "HTTP 401 Unauthorized" in messages_of(caplog)[0]
    assert messages_of(caplog)[0].endswith("OTEL_EXPORTER_OTLP_HEADERS.")


def test_an_endpoint_that_comes_back(
    receiver: OtlpReceiver, caplog: pytest.LogCaptureFixture
) -> None:
    """One line says that it is away, and one that it is there again."""
    receiver.respond = lambda _: Reply(503)
    with caplog.at_level(logging.INFO, "vllm.sidelight"), exporting(receiver.url) as box:
        box.put(span("a"))
        receiver.wait_for(lambda: messages_of(caplog))
        receiver.respond = lambda _: Reply()
        receiver.wait_for(lambda: len(messages_of(caplog)) > 1)
        receiver.wait_for(lambda: len(receiver.metrics()) > 0)
    assert [record.levelname for record in records_of(caplog)] == ["WARNING", "INFO"]
    assert f"to http://127.0.0.1:{receiver.port} again" in messages_of(caplog)[1]


def test_drops_are_heard(caplog: pytest.LogCaptureFixture) -> None:
    """What was dropped since the last line is logged, by queue, once in minutes."""
    counts = {"capture": 3, "export": 0}

    def data_points() -> list[DataPoint]:
        return [
            DataPoint(names.INSTRUMENTATION_DROPPED, {"queue": queue}, count)
            for queue, count in counts.items()
        ]

    box = OtlpExporter({}, None, None, data_points, {})
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            box._send_metrics()
            counts["export"] += 1
        box._occasions = Occasions()
        box._send_metrics()
    first, second = messages_of(caplog)
    assert first.startswith("Sidelight: dropped 3 at the capture queue, because")
    assert second.startswith("Sidelight: dropped 3 at the export queue, because")
    assert first.endswith("this machine has CPU time left.")


@pytest.mark.parametrize("error", [MemoryError, SystemExit, KeyboardInterrupt])
def test_the_thread_outlives_its_faults(
    receiver: OtlpReceiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: type[BaseException],
) -> None:
    """A fault costs its batch, counted as dropped, and one line; later spans arrive."""
    encode = traces.traces_request
    faults = iter([error("a prompt")])

    def failing(*arguments: Any) -> bytes:
        if fault := next(faults, None):
            raise fault
        return encode(*arguments)

    monkeypatch.setattr(exporter, "traces_request", failing)
    monkeypatch.setattr(exporter, "FAULT_PAUSE_SECONDS", 0.0)
    with caplog.at_level(logging.WARNING), exporting(receiver.url) as box:
        box.put(span("lost"))
        receiver.wait_for(lambda: box.dropped)
        box.put(span("kept"))
        receiver.wait_for(receiver.spans)
        assert box.guard.faults == 1
        # The batch is counted after its answer was read, a moment after it is here.
        receiver.wait_for(lambda: box._bytes_in == box._bytes_out)
    assert [each.name for each in receiver.spans()] == ["kept"]
    (line,) = messages_of(caplog)
    assert f"{error.__name__} in the export thread (exporter.py:" in line
    assert "a prompt" not in line


def test_hanging_endpoint_does_not_hold_up_the_end(receiver: OtlpReceiver) -> None:
    """A server that ends does not wait for an endpoint that hangs."""
    receiver.respond = lambda _: Reply(fault="hang")
    with exporting(receiver.url) as box:
        box.put(span("a"))
        receiver.wait_for(lambda: receiver.requests)
        box.stop(0.1)
        assert [thread for thread in threading.enumerate() if thread.name == "sidelight-export"]
        assert all(
            thread.daemon for thread in threading.enumerate() if thread.name == "sidelight-export"
        )
        receiver.close()


def test_what_is_queued_at_the_end_is_sent(receiver: OtlpReceiver) -> None:
    """Spans and metrics of the last moment go out when the server ends."""
    with exporting(
        receiver.url, OTEL_BSP_SCHEDULE_DELAY="60000", OTEL_METRIC_EXPORT_INTERVAL="60000"
    ) as box:
        box.put(span("last"))
    assert [each.name for each in receiver.spans()] == ["last"]
    assert names.CLIENT_ABORTS in receiver.metrics()


def test_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full queue drops what is new and counts it, by number and by size."""
    box = OtlpExporter({}, OtlpHttpClient("traces", {}), None, list, {})
    monkeypatch.setattr(exporter, "MAX_QUEUED_SPANS", 5)
    for _ in range(8):
        box.put(span())
    assert box.dropped == 3
    box = OtlpExporter({}, OtlpHttpClient("traces", {}), None, list, {})
    monkeypatch.setattr(exporter, "MAX_QUEUED_BYTES", 1_000)
    for _ in range(3):
        box.put(span(text="x" * 400))
    assert box.dropped == 1
