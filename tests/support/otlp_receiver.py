"""An OTLP/HTTP endpoint on a free loopback port that keeps and decodes what it is sent."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from support.backend import Backend
from support.waiting import eventually


@dataclass(frozen=True)
class ReceivedSpan:
    """A span with plain attributes; ids are hexadecimal, the parent's is empty for a root."""

    trace_id: str
    span_id: str
    parent_id: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    resource: dict[str, Any]
    scope: str
    status: int
    message: str
    trace_state: str = ""
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


def plain(attributes: Any) -> dict[str, Any]:
    """Attributes as a plain dict."""

    def value(given: AnyValue) -> Any:
        kind = given.WhichOneof("value")
        if kind == "array_value":
            return [value(item) for item in given.array_value.values]
        if kind == "kvlist_value":
            return plain(given.kvlist_value.values)
        return None if kind is None else getattr(given, kind)

    pairs: list[KeyValue] = list(attributes)
    return {pair.key: value(pair.value) for pair in pairs}


def decode_spans(payload: bytes) -> list[ReceivedSpan]:
    """The spans of an `ExportTraceServiceRequest`."""
    return [
        ReceivedSpan(
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            name=span.name,
            kind=span.kind,
            start_ns=span.start_time_unix_nano,
            end_ns=span.end_time_unix_nano,
            attributes=plain(span.attributes),
            resource=plain(resource.resource.attributes),
            scope=scope.scope.name,
            status=span.status.code,
            message=span.status.message,
            trace_state=span.trace_state,
            events=[(event.name, plain(event.attributes)) for event in span.events],
        )
        for resource in ExportTraceServiceRequest.FromString(payload).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


class OtlpReceiver(Backend):
    """Serves until the `with` block ends; set `respond` to make it fail."""

    def spans(
        self, matching: Callable[[ReceivedSpan], bool] = lambda _: True
    ) -> list[ReceivedSpan]:
        """All spans that were accepted so far."""
        return [
            span
            for request in list(self.requests)
            if request.path == "/v1/traces"
            for span in _spans(request.body, request.headers.get("content-encoding"))
            if matching(span)
        ]

    def metrics(self) -> dict[str, list[Any]]:
        """Data points of the newest metrics of every metric name."""
        newest: dict[str, list[Any]] = {}
        for request in list(self.requests):
            if request.path == "/v1/metrics":
                newest |= _metrics(request.body, request.headers.get("content-encoding"))
        return newest

    def wait_for(self, condition: Callable[[], Any]) -> Any:
        """What `condition` returns once that is true. Raises `AssertionError` if it never is."""
        return eventually(condition, state=lambda: f"spans: {[span.name for span in self.spans()]}")


# Tests ask again and again until something has come: each request is decoded once.
@lru_cache(maxsize=8192)
def _spans(body: bytes, encoding: str | None) -> tuple[ReceivedSpan, ...]:
    return tuple(decode_spans(_decompressed(body, encoding)))


@lru_cache(maxsize=8192)
def _metrics(body: bytes, encoding: str | None) -> dict[str, list[Any]]:
    message = ExportMetricsServiceRequest.FromString(_decompressed(body, encoding))
    return {
        metric.name: list(getattr(metric, str(metric.WhichOneof("data"))).data_points)
        for resource in message.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def _decompressed(body: bytes, encoding: str | None) -> bytes:
    return gzip.decompress(body) if encoding == "gzip" else body
