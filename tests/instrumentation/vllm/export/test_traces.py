"""Spans that are encoded here against the generated classes."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from sidelight.instrumentation.vllm.export import protobuf, traces
from support.otlp_receiver import plain


def span(**changes: Any) -> traces.OtlpSpan:
    given: dict[str, Any] = {
        "trace_id": bytes(range(16)),
        "span_id": bytes(range(8)),
        "parent_id": b"",
        "name": "chat tiny",
        "kind": traces.SERVER,
        "start_ns": 1,
        "end_ns": 2,
        "attributes": {},
    }
    return traces.OtlpSpan(**(given | changes))


def decode(encoded: traces.OtlpSpan) -> trace_pb2.Span:
    return trace_pb2.Span.FromString(traces.encode_span(encoded))


@given(st.text(max_size=400), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_fields(name: str, start_ns: int, end_ns: int) -> None:
    """Ids, names, times, kind, state, error and events stand in their fields."""
    decoded = decode(
        span(
            name=name,
            start_ns=start_ns,
            end_ns=end_ns,
            parent_id=b"\x01" * 8,
            trace_state="vendor=1",
            parent_is_remote=True,
            error_type="ValueError",
            error_message="no",
            events=(("exception", end_ns, {"exception.type": "ValueError"}),),
        )
    )
    assert decoded.trace_id == bytes(range(16))
    assert decoded.span_id == bytes(range(8))
    assert decoded.parent_span_id == b"\x01" * 8
    assert (decoded.name, decoded.kind) == (name, trace_pb2.Span.SPAN_KIND_SERVER)
    assert (decoded.start_time_unix_nano, decoded.end_time_unix_nano) == (start_ns, end_ns)
    assert decoded.trace_state == "vendor=1"
    assert decoded.flags == 0x301
    assert decoded.status.code == trace_pb2.Status.STATUS_CODE_ERROR
    assert decoded.status.message == "no"
    assert plain(decoded.events[0].attributes) == {"exception.type": "ValueError"}
    assert decoded.events[0].time_unix_nano == end_ns


def test_no_error() -> None:
    """A span without an error has no status and a root has no parent."""
    decoded = decode(span())
    assert not decoded.HasField("status")
    assert decoded.parent_span_id == b""


def test_unknown_type() -> None:
    """A value that OTLP does not know is refused."""
    with pytest.raises(TypeError, match="object"):
        traces.encode_span(span(attributes={"a": object()}))


def test_request() -> None:
    """Resource, scope and spans are framed as an export request."""
    spans = [traces.encode_span(span(name=name)) for name in ("a", "b")]
    request = ExportTraceServiceRequest.FromString(
        traces.traces_request(protobuf.resource({"service.name": "vllm"}), "scope", spans)
    )
    (resource,) = request.resource_spans
    assert plain(resource.resource.attributes) == {"service.name": "vllm"}
    (scope,) = resource.scope_spans
    assert scope.scope.name == "scope"
    assert [each.name for each in scope.spans] == ["a", "b"]
