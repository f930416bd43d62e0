"""Every text inside a span or log record, handed to a function that may change it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, InstrumentationScope, KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

Change = Callable[[bytes], bytes]
"""Takes a text as UTF-8 and gives it back, the same object where nothing changes."""


def change_span(span: Span, change: Change) -> None:
    """Name, status, and the values of attributes, events and links; their keys stay."""
    span.name = _text(span.name, change)
    if span.status.message:
        span.status.message = _text(span.status.message, change)
    change_attributes(span.attributes, change)
    for event in span.events:
        event.name = _text(event.name, change)
        change_attributes(event.attributes, change)
    for link in span.links:
        change_attributes(link.attributes, change)


def change_log(record: LogRecord, change: Change) -> None:
    """The body and the values of attributes."""
    if record.HasField("body"):
        _value(record.body, change)
    change_attributes(record.attributes, change)


def change_holder(holder: Resource | InstrumentationScope, change: Change) -> None:
    """The values of the attributes of a resource or a scope."""
    change_attributes(holder.attributes, change)


def change_attributes(pairs: Iterable[KeyValue], change: Change) -> None:
    """The values of attributes, at any depth, and the keys of maps inside them."""
    for pair in pairs:
        _value(pair.value, change)


def _value(value: AnyValue, change: Change) -> None:
    which = value.WhichOneof("value")
    if which == "string_value":
        old = value.string_value
        new = _text(old, change)
        if new is not old:
            value.string_value = new
    elif which == "array_value":
        for item in value.array_value.values:
            _value(item, change)
    elif which == "kvlist_value":
        for pair in value.kvlist_value.values:
            # In a map keys are data too: users' names, for instance. Those of attributes are not.
            pair.key = _text(pair.key, change)
            _value(pair.value, change)
    elif which == "bytes_value":
        value.bytes_value = change(value.bytes_value)


def _text(text: str, change: Change) -> str:
    data = text.encode()
    changed = change(data)
    # The same object: most texts hold no secret, and need not be decoded again.
    return text if changed is data else changed.decode("utf-8", "replace")
