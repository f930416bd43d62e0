"""Converts spans and log records to events of Splunk's HTTP Event Collector: pure.

The events have the form of the OpenTelemetry Collector's Splunk HEC exporter, so searches and
dashboards for it keep working.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sidelight import conventions as c
from sidelight.otlp.signals import Signal
from sidelight.otlp.span import attributes

# A hostile value must not exhaust the stack.
_MAX_NESTING: Final = 16
Event = dict[str, Any]


def events(signal: Signal, body: bytes, envelope: Mapping[str, str]) -> bytes:
    """Convert an export request of traces or logs to concatenated JSON events, one per item.

    `envelope` has the common fields of all events: index, source, sourcetype.
    """
    make = _spans if signal == "traces" else _log_records
    return b"".join(
        json.dumps({**envelope, **event}, separators=(",", ":")).encode() for event in make(body)
    )


def _spans(body: bytes) -> Iterator[Event]:
    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
        origin = _origin(resource.resource)
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield {"time": _seconds(span.start_time_unix_nano), "event": _span(span)} | origin


def _span(span: Span) -> Event:
    return {
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_id": span.parent_span_id.hex(),
        "name": span.name,
        "kind": Span.SpanKind.Name(span.kind),
        "start_time": span.start_time_unix_nano,
        "end_time": span.end_time_unix_nano,
        "status": {
            "code": Status.StatusCode.Name(span.status.code),
            "message": span.status.message,
        },
        "attributes": _plain(attributes(span.attributes)),
        "events": [
            {
                "name": event.name,
                "timestamp": event.time_unix_nano,
                "attributes": _plain(attributes(event.attributes)),
            }
            for event in span.events
        ],
        "links": [
            {
                "trace_id": link.trace_id.hex(),
                "span_id": link.span_id.hex(),
                "attributes": _plain(attributes(link.attributes)),
            }
            for link in span.links
        ],
    }


def _log_records(body: bytes) -> Iterator[Event]:
    for resource in ExportLogsServiceRequest.FromString(body).resource_logs:
        origin = _origin(resource.resource)
        for scope in resource.scope_logs:
            for record in scope.log_records:
                yield _log_record(record, origin)


def _log_record(record: LogRecord, origin: Event) -> Event:
    fields = origin["fields"] | _plain(attributes(record.attributes))
    # The names of the OpenTelemetry Collector's exporter.
    if record.severity_text:
        fields["otel.log.severity.text"] = record.severity_text
    if record.severity_number:
        fields["otel.log.severity.number"] = record.severity_number
    if record.trace_id:
        fields["trace_id"] = record.trace_id.hex()
    if record.span_id:
        fields["span_id"] = record.span_id.hex()
    # HEC rejects the whole batch for one empty event.
    event = _value(record.body)
    # A log record may only have the time at which it was observed.
    time = record.time_unix_nano or record.observed_time_unix_nano
    return origin | {
        "time": _seconds(time),
        "event": event if event not in (None, "") else "-",
        "fields": fields,
    }


def _origin(resource: Resource) -> Event:
    values = attributes(resource.attributes)
    origin: Event = {"fields": _plain(values)}
    host = values.get(c.HOST_NAME)
    # Splunk's own field, by which its users search.
    if isinstance(host, str) and host:
        origin["host"] = host
    return origin


def _seconds(nanoseconds: int) -> float:
    """Seconds since the epoch; HEC stores milliseconds."""
    return round(nanoseconds / 1e9, 3)


def _value(value: AnyValue, depth: int = 0) -> Any:
    kind = value.WhichOneof("value")
    if kind is None or depth >= _MAX_NESTING:
        return None
    if kind == "array_value":
        return [_value(item, depth + 1) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: _value(pair.value, depth + 1) for pair in value.kvlist_value.values}
    return _scalar(getattr(value, kind))


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: [_scalar(item) for item in value] if isinstance(value, list) else _scalar(value)
        for key, value in values.items()
        if value is not None
    }


_TEXTS: Final[tuple[tuple[type, Callable[[Any], Any]], ...]] = ((bytes, bytes.hex), (list, str))


def _scalar(value: Any) -> Any:
    """The value for JSON and HEC's fields, which have no bytes, no NaN and no nested lists."""
    for kind, text in _TEXTS:
        if isinstance(value, kind):
            return text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value
