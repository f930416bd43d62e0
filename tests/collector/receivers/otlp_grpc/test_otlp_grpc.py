"""OTLP/gRPC as a client sees it, at a running collector."""

from __future__ import annotations

import gzip
import os
import socket
from collections.abc import Iterator

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import TraceServiceStub

from support import otlp_requests
from support.collector import Collector
from support.otlp_store import OtlpStore
from support.span_load import EXPORT_TRACES
from support.waiting import PATIENCE_SECONDS, eventually


@pytest.fixture
def channel(collector: Collector) -> Iterator[grpc.Channel]:
    """A channel that sends messages of any size."""
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{collector.grpc_port}", options=options) as channel:
        yield channel


def _request(*names: str) -> ExportTraceServiceRequest:
    record = otlp_requests.traces([otlp_requests.span(each) for each in names])
    return ExportTraceServiceRequest.FromString(gzip.decompress(record.payload))


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_traces(channel: grpc.Channel, store: OtlpStore, compression: grpc.Compression) -> None:
    """The generated stub, plain and gzip; the span stands at the destination."""
    name = f"span-{os.urandom(6).hex()}"
    export = TraceServiceStub(channel).Export  # type: ignore[no-untyped-call]
    answer = export(_request(name), timeout=PATIENCE_SECONDS, compression=compression)
    assert answer == ExportTraceServiceResponse()
    eventually(lambda: store.spans(name))


def test_partial_success(channel: grpc.Channel, store: OtlpStore) -> None:
    """A span with bad ids is refused alone."""
    name = f"span-{os.urandom(6).hex()}"
    request = _request(name, name)
    request.resource_spans[0].scope_spans[0].spans[0].span_id = b"short"
    answer = TraceServiceStub(channel).Export(request, timeout=PATIENCE_SECONDS)  # type: ignore[no-untyped-call]
    assert answer.partial_success.rejected_spans == 1
    assert "span id" in answer.partial_success.error_message
    eventually(lambda: store.spans(name))
    assert len(store.spans(name)) == 1


def test_malformed_is_invalid_argument(channel: grpc.Channel) -> None:
    """One clear sentence, a status that is not repeated, and the next call works."""
    export = channel.unary_unary(EXPORT_TRACES)
    with pytest.raises(grpc.RpcError) as caught:
        export(b"\x0a\xff", timeout=PATIENCE_SECONDS)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "not a valid ExportTraceServiceRequest" in caught.value.details()
    assert export(b"", timeout=PATIENCE_SECONDS) == b""


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_what_is_too_large_is_refused(
    channel: grpc.Channel, compression: grpc.Compression, collector: Collector
) -> None:
    """As sent and once decompressed; without RetryInfo, so that it is not repeated for ever."""
    body = b"\x7a\x80\x80\x80\x20" + bytes(64 << 20)
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary(EXPORT_TRACES)(body, timeout=PATIENCE_SECONDS, compression=compression)
    assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "grpc-status-details-bin" not in dict(caught.value.trailing_metadata())
    assert collector.peak_rss_bytes() < 150 << 20


def test_an_unknown_service_is_unimplemented(channel: grpc.Channel) -> None:
    """Profiles, for instance."""
    with pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/opentelemetry.proto.Nothing/Export")(b"", timeout=PATIENCE_SECONDS)
    assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_calls_are_counted_by_outcome(channel: grpc.Channel, collector: Collector) -> None:
    """/metrics shows what clients were told."""
    name = "sidelight_collector_requests_total"
    outcomes = ("OK", "INVALID_ARGUMENT")
    before = {each: collector.metric(name, protocol="grpc", outcome=each) for each in outcomes}
    export = channel.unary_unary(EXPORT_TRACES)
    export(b"", timeout=PATIENCE_SECONDS)
    with pytest.raises(grpc.RpcError):
        export(b"\xff", timeout=PATIENCE_SECONDS)
    for each in outcomes:
        assert collector.metric(name, protocol="grpc", outcome=each) == before[each] + 1


def test_garbage_on_the_port(collector: Collector) -> None:
    """Bytes that are no HTTP/2 cost their own connection only."""
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 100, os.urandom(1000)):
        with socket.create_connection(("127.0.0.1", collector.grpc_port), PATIENCE_SECONDS) as sock:
            sock.sendall(garbage)
            while sock.recv(4096):
                pass
    with grpc.insecure_channel(f"127.0.0.1:{collector.grpc_port}") as channel:
        assert channel.unary_unary(EXPORT_TRACES)(b"", timeout=PATIENCE_SECONDS) == b""


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def test_a_header_that_is_no_text_is_not_logged(collector: Collector) -> None:
    """gRPC itself would write it to the log as it came, token and all."""
    headers = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": EXPORT_TRACES.encode(),
        b":authority": b"localhost",
        b"content-type": b"application/grpc",
        b"te": b"trailers",
        b"authorization": b"Bearer not-for-the-log-\xff",
        b"x-project-name": b"also-not-for-the-log-\xff",
    }
    block = b"".join(
        bytes([0, len(name)]) + name + bytes([len(value)]) + value
        for name, value in headers.items()
    )
    with socket.create_connection(("127.0.0.1", collector.grpc_port), PATIENCE_SECONDS) as sock:
        sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0))
        sock.sendall(_frame(1, 4, 1, block) + _frame(0, 1, 1, bytes(5)))
        with sock.makefile("rb") as answer:
            is_answered = False
            while not is_answered:
                head = answer.read(9)
                assert answer.read(int.from_bytes(head[:3])) is not None
                is_answered = head[3] == 1 and bool(head[4] & 1)  # headers, the last of a stream
    assert "for-the-log" not in collector.output
