"""The OpenTelemetry SDK's own exporters as clients: every signal, over HTTP and gRPC."""

from __future__ import annotations

import logging
import os
from typing import Any, Literal

import grpc
import pytest
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression as HttpCompression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Status, StatusCode

from support.collector import Collector
from support.otlp_store import OtlpStore
from support.waiting import PATIENCE_SECONDS, eventually

Protocol = Literal["http", "http gzip", "grpc", "grpc gzip"]
_RESOURCE = Resource.create({"service.name": "sdk-test"})


@pytest.fixture(params=["http", "http gzip", "grpc", "grpc gzip"])
def protocol(request: pytest.FixtureRequest) -> Protocol:
    """How the exporter speaks."""
    return request.param  # type: ignore[no-any-return]


def _options(protocol: Protocol, collector: Collector, path: str) -> dict[str, Any]:
    if protocol.startswith("http"):
        compression: Any = (
            HttpCompression.Gzip if "gzip" in protocol else HttpCompression.NoCompression
        )
        return {
            "endpoint": f"{collector.url}{path}",
            "compression": compression,
            "timeout": PATIENCE_SECONDS,
        }
    compression = grpc.Compression.Gzip if "gzip" in protocol else grpc.Compression.NoCompression
    endpoint = f"http://127.0.0.1:{collector.grpc_port}"
    return {
        "endpoint": endpoint,
        "insecure": True,
        "compression": compression,
        "timeout": PATIENCE_SECONDS,
    }


def _name() -> str:
    return f"sdk-{os.urandom(6).hex()}"


def test_spans(collector: Collector, store: OtlpStore, protocol: Protocol) -> None:
    """A span with all that a span can have stands at the destination as it was."""
    exporter = HttpSpans if protocol.startswith("http") else GrpcSpans
    provider = TracerProvider(resource=_RESOURCE)
    provider.add_span_processor(
        BatchSpanProcessor(exporter(**_options(protocol, collector, "/v1/traces")))
    )
    tracer = provider.get_tracer("scope", "1.0")
    name = _name()
    with (
        tracer.start_as_current_span("parent") as parent,
        tracer.start_as_current_span(
            name, attributes={"text": "ü", "many": [1, 2], "flag": True, "ratio": 0.5}
        ) as span,
    ):
        span.add_event("event", {"key": "value"})
        span.set_status(Status(StatusCode.ERROR, "bad"))
    assert provider.force_flush(int(PATIENCE_SECONDS * 1000))
    provider.shutdown()
    eventually(lambda: store.spans(name))
    (found,) = store.spans(name)
    assert int.from_bytes(found.trace_id) == span.get_span_context().trace_id
    assert int.from_bytes(found.parent_span_id) == parent.get_span_context().span_id
    assert {pair.key for pair in found.attributes} == {"text", "many", "flag", "ratio"}
    assert (found.events[0].name, found.status.message) == ("event", "bad")


def test_metrics(collector: Collector, store: OtlpStore, protocol: Protocol) -> None:
    """A counter and a histogram are stored, and shown on /metrics as well."""
    exporter = HttpMetrics if protocol.startswith("http") else GrpcMetrics
    reader = PeriodicExportingMetricReader(
        exporter(**_options(protocol, collector, "/v1/metrics")), export_interval_millis=1e9
    )
    provider = MeterProvider([reader], resource=_RESOURCE)
    meter = provider.get_meter("scope")
    name = _name().replace("-", "_")
    meter.create_counter(name).add(3, {"kind": "a"})
    meter.create_histogram(f"{name}_time").record(0.2)
    assert provider.force_flush(int(PATIENCE_SECONDS * 1000))
    provider.shutdown()
    eventually(lambda: store.named_metrics(name) and store.named_metrics(f"{name}_time"))
    assert collector.metric(f"{name}_total", kind="a") == 3


def test_logs(collector: Collector, store: OtlpStore, protocol: Protocol) -> None:
    """A line of Python's logging."""
    exporter = HttpLogs if protocol.startswith("http") else GrpcLogs
    provider = LoggerProvider(resource=_RESOURCE)
    provider.add_log_record_processor(
        BatchLogRecordProcessor(exporter(**_options(protocol, collector, "/v1/logs")))
    )
    logger = logging.getLogger(_name())
    logger.propagate = False
    logger.addHandler(LoggingHandler(logger_provider=provider))
    logger.warning("line %s", logger.name)
    assert provider.force_flush(int(PATIENCE_SECONDS * 1000))
    provider.shutdown()
    eventually(lambda: store.log_records(f"line {logger.name}"))
