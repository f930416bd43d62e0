"""A backend that keeps every OTLP/HTTP request it is sent, decoded."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from support.backend import Backend, Reply, Request
from support.waiting import PATIENCE_SECONDS


class OtlpStore(Backend):
    """Takes everything; what it took is found by name."""

    def __init__(self, *, port: int = 0) -> None:
        self.traces: list[ExportTraceServiceRequest] = []
        self.metrics: list[ExportMetricsServiceRequest] = []
        self.logs: list[ExportLogsServiceRequest] = []
        super().__init__(self._store, port=port)

    def _store(self, request: Request) -> Reply:
        self.requests.clear()
        body = gzip.decompress(request.body)
        match request.path:
            case "/v1/traces":
                self.traces.append(ExportTraceServiceRequest.FromString(body))
            case "/v1/metrics":
                self.metrics.append(ExportMetricsServiceRequest.FromString(body))
            case "/v1/logs":
                self.logs.append(ExportLogsServiceRequest.FromString(body))
            case _:
                return Reply(404)
        return Reply(200, b"", {"Content-Type": "application/x-protobuf"})

    def destination(self, name: str = "store") -> dict[str, object]:
        """This backend as a destination of sidelight.yaml, with time to answer."""
        return {
            "type": "otlp_http",
            "name": name,
            "url": self.url,
            "timeout_seconds": PATIENCE_SECONDS,
        }

    def spans(self, name: str) -> list[Span]:
        """The stored spans of this name."""
        return [span for span in self.all_spans() if span.name == name]

    def all_spans(self) -> Iterator[Span]:
        """Every stored span, in the order they came."""
        for request in list(self.traces):
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    yield from scope.spans

    def with_origin(self) -> Iterator[tuple[Resource, InstrumentationScope, Span]]:
        """Every stored span with its resource and scope."""
        for request in list(self.traces):
            for resource in request.resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        yield resource.resource, scope.scope, span

    def named_metrics(self, name: str) -> list[Metric]:
        """The stored metrics of this name."""
        return [
            metric
            for request in list(self.metrics)
            for resource in request.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        ]

    def log_records(self, text: str) -> list[LogRecord]:
        """The stored log records with this text."""
        return [
            record
            for request in list(self.logs)
            for resource in request.resource_logs
            for scope in resource.scope_logs
            for record in scope.log_records
            if record.body.string_value == text
        ]
