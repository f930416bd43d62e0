"""One span opened: OTLP's span and attributes as plain Python values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

AttributeValue = str | bool | int | float | bytes | list["AttributeValue"] | None
Attributes = Mapping[str, AttributeValue]

# Looked up in the generated module it takes as long as three fields.
_ERROR = Status.STATUS_CODE_ERROR


class SpanRecord(NamedTuple):
    """A span for reading only; ids are raw bytes, times Unix nanoseconds."""

    trace_id: bytes
    span_id: bytes
    parent_span_id: bytes
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: Attributes
    is_error: bool

    @property
    def seconds(self) -> float:
        """Duration; 0 where a clock ran backwards."""
        return max(0, self.end_ns - self.start_ns) / 1e9


class SourcedSpan(NamedTuple):
    """A span with the service and the instrumentation scope that it came from."""

    service: str
    scope: str
    span: SpanRecord


def read(span: Span) -> SpanRecord:
    """The record of a parsed span."""
    return record(span, attributes(span.attributes))


def record(span: Span, attributes: Attributes) -> SpanRecord:
    """The record of a parsed span whose attributes were read before."""
    # By position: names take a third more time, and each measured span has a record.
    return SpanRecord(
        span.trace_id,
        span.span_id,
        span.parent_span_id,
        span.name,
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        attributes,
        span.status.code == _ERROR,
    )


def attributes(pairs: Iterable[KeyValue]) -> dict[str, AttributeValue]:
    """Key-value pairs as a dict; of a repeated key the last one counts."""
    return {pair.key: value(pair.value) for pair in pairs}


def value(any_value: AnyValue) -> AttributeValue:
    """The Python value; nested maps, which no name of ours uses, come as None."""
    kind = any_value.WhichOneof("value")
    if kind is None or kind == "kvlist_value":
        return None
    if kind == "array_value":
        return [value(item) for item in any_value.array_value.values]
    plain: AttributeValue = getattr(any_value, kind)
    return plain


def set_attribute(span: Span, key: str, new: str | bool | int | float) -> None:
    """Append an attribute; the caller knows that `key` is absent."""
    pair = span.attributes.add()
    pair.key = key
    if isinstance(new, bool):
        pair.value.bool_value = new
    elif isinstance(new, int):
        pair.value.int_value = new
    elif isinstance(new, float):
        pair.value.double_value = new
    else:
        pair.value.string_value = new
