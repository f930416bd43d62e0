"""Spans for tests with origin and attributes, as stored records, and read back from them."""

from __future__ import annotations

import gzip
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sidelight.collector.log.record import Record

Value = str | bool | int | float


@dataclass(frozen=True)
class Made:
    """One span to be; parent and trace by name: equal names are equal ids."""

    name: str
    trace: str = "trace"
    parent: str = ""
    service: str = "app"
    scope: str = "test"
    attributes: Mapping[str, Value] = field(default_factory=dict)
    resource: Mapping[str, Value] = field(default_factory=dict)
    error: bool = False
    seconds: float = 0.001


def span_id(name: str) -> bytes:
    """The id of the span called so."""
    return name.encode()[:8].rjust(8, b"-")


def trace_id(name: str) -> bytes:
    """The id of the trace called so."""
    return name.encode()[:16].rjust(16, b"-")


def request(*spans: Made) -> ExportTraceServiceRequest:
    """An export request of the spans, each under its resource and scope."""
    made = ExportTraceServiceRequest()
    for each in spans:
        resource = made.resource_spans.add(schema_url="https://example.org/resource")
        _set(resource.resource.attributes, {"service.name": each.service, **each.resource})
        scope = resource.scope_spans.add(schema_url="https://example.org/scope")
        scope.scope.name = each.scope
        end = 1_700_000_000_000_000_000
        span = scope.spans.add(
            trace_id=trace_id(each.trace),
            span_id=span_id(each.name),
            parent_span_id=span_id(each.parent) if each.parent else b"",
            name=each.name,
            kind=Span.SPAN_KIND_INTERNAL,
            start_time_unix_nano=end - int(each.seconds * 1e9),
            end_time_unix_nano=end,
        )
        _set(span.attributes, each.attributes)
        if each.error:
            span.status.code = Status.STATUS_CODE_ERROR
    return made


def record(*spans: Made, time_ns: int | None = None) -> Record:
    """A stored record of the spans."""
    payload = gzip.compress(request(*spans).SerializeToString(), 1)
    return Record("traces", payload, len(spans), time.time_ns() if time_ns is None else time_ns)


def decoded(stored: Record | None) -> ExportTraceServiceRequest:
    """What is in a record; nothing is an empty request."""
    payload = b"" if stored is None else gzip.decompress(stored.payload)
    return ExportTraceServiceRequest.FromString(payload)


def spans_of(stored: Record | None) -> list[Span]:
    """The spans of a record."""
    return [
        span
        for resource in decoded(stored).resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def names_of(stored: Record | None) -> list[str]:
    """The names of a record's spans."""
    return [span.name for span in spans_of(stored)]


def new_trace() -> str:
    """A name of a trace that no other has."""
    return os.urandom(8).hex()


def _set(attributes: object, values: Mapping[str, Value]) -> None:
    for key, value in values.items():
        pair: KeyValue = attributes.add(key=key)  # type: ignore[attr-defined]
        match value:
            case bool():
                pair.value.bool_value = value
            case int():
                pair.value.int_value = value
            case float():
                pair.value.double_value = value
            case str():
                pair.value.string_value = value
