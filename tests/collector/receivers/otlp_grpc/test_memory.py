"""What many senders of large messages over gRPC cost in memory, and what they are told."""

from __future__ import annotations

import gzip
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from support import otlp_requests
from support.collector import Collector, fetch, settings
from support.ports import free_port
from support.span_load import EXPORT_TRACES
from support.waiting import PATIENCE_SECONDS, eventually

MIB = 1024 * 1024
SENDERS = 16
MESSAGE_BYTES = 20 * 1000 * 1000


def large(size: int) -> bytes:
    """A request of spans of 20 kB; random, so that nothing makes it small."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add().scope_spans.add().spans
    for _ in range(size // 20_000):
        span = otlp_requests.span()
        span.attributes.add(key="input.value").value.string_value = os.urandom(10_000).hex()
        spans.append(span)
    return request.SerializeToString()


def channel(collector: Collector) -> grpc.Channel:
    """A connection of its own."""
    options = [("grpc.max_send_message_length", -1), ("grpc.use_local_subchannel_pool", 1)]
    return grpc.insecure_channel(f"127.0.0.1:{collector.grpc_port}", options=options)


def together(senders: int, send: Callable[[int], None]) -> None:
    """Run `send` in as many threads at once."""
    threads = [threading.Thread(target=send, args=(number,)) for number in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Collector]:
    """A collector with room for one message of a megabyte, and a little more for HTTP."""
    config = settings(tmp_path)
    zipkin_port = free_port()
    http = {
        "max_body_bytes": MIB // 2,
        "max_decompressed_bytes": MIB // 2,
        "max_buffered_bytes": MIB * 5 // 4,
    }
    config["receivers"]["otlp_http"] |= http
    config["receivers"]["zipkin"] = {"enabled": True, "port": zipkin_port, **http}
    config["receivers"]["otlp_grpc"] |= {"max_message_bytes": MIB, "max_buffered_bytes": MIB}
    with Collector(config, tmp_path) as collector:
        collector.zipkin_port = zipkin_port  # type: ignore[attr-defined]
        yield collector


@pytest.mark.slow
def test_sixteen_senders_of_20_mb(tmp_path: Path) -> None:
    """All arrive, and the collector stays within what HTTP takes: 292 MiB; it was 1,048."""
    messages = [large(MESSAGE_BYTES) for _ in range(4)]
    answers: Counter[str] = Counter()

    def send(number: int) -> None:
        with channel(collector) as connection:
            export = connection.unary_unary(EXPORT_TRACES)
            while True:
                try:
                    export(messages[number % len(messages)], timeout=240)
                except grpc.RpcError as error:
                    answers[error.code().name] += 1
                    is_told = "grpc-status-details-bin" in dict(error.trailing_metadata())
                    answers["retry info" if is_told else "no retry info"] += 1
                    time.sleep(0.1)
                else:
                    answers["OK"] += 1
                    return

    with Collector(settings(tmp_path), tmp_path) as collector:
        with channel(collector) as first:
            # It loads gRPC, which refuses others for the moment in which it takes the port.
            first.unary_unary(EXPORT_TRACES)(b"", timeout=PATIENCE_SECONDS)
        together(SENDERS, send)
        assert answers.pop("OK") == SENDERS
        # A sender that the machine stops for long is cut off to make room.
        assert answers["DEADLINE_EXCEEDED"] == answers["no retry info"]
        expected = {"RESOURCE_EXHAUSTED", "retry info", "DEADLINE_EXCEEDED", "no retry info"}
        assert set(answers) <= expected
        assert collector.peak_rss_bytes() < 320 * MIB


def _stalled(collector: Collector, connection: grpc.Channel) -> grpc.Future:
    """A call whose message never comes to an end."""
    released = threading.Event()

    def messages() -> Iterator[bytes]:
        released.wait(PATIENCE_SECONDS)
        yield b""

    call = connection.stream_unary(EXPORT_TRACES).future(messages())
    eventually(lambda: collector.metric("sidelight_collector_receive_buffered_bytes") > 0)
    return call


def test_what_does_not_fit_is_refused_with_retry_info(limited: Collector) -> None:
    """RESOURCE_EXHAUSTED that senders repeat, counted once with its cause; then it goes on."""
    with channel(limited) as slow, channel(limited) as quick:
        call = _stalled(limited, slow)
        with pytest.raises(grpc.RpcError) as caught:
            quick.unary_unary(EXPORT_TRACES)(large(100_000), timeout=PATIENCE_SECONDS)
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
        retry = RetryInfo()
        assert Status.FromString(details).details[0].Unpack(retry)
        assert retry.retry_delay.seconds == 1
        refused = "sidelight_collector_refused_total"
        assert limited.metric(refused, signal="traces", reason="busy") == 1
        call.cancel()
        eventually(lambda: limited.metric("sidelight_collector_receive_buffered_bytes") == 0)
        assert quick.unary_unary(EXPORT_TRACES)(large(100_000), timeout=PATIENCE_SECONDS) == b""


def test_one_budget_for_all_receivers(limited: Collector) -> None:
    """What gRPC holds is not there for HTTP and Zipkin, as sent or decompressed."""
    plain = large(400_000)
    # Small as sent: only decompressing it needs the memory.
    inflating = gzip.compress(b'{"resourceSpans":[]}' + b" " * 400_000)
    zipped = {"Content-Encoding": "gzip", "Content-Type": "application/json"}
    zipkin = f"http://127.0.0.1:{limited.zipkin_port}/api/v2/spans"  # type: ignore[attr-defined]
    spans = gzip.compress(b"[]" + b" " * 400_000)

    def statuses() -> list[int]:
        answers = [
            limited.post(plain),
            limited.post(inflating, headers=zipped),
            fetch(zipkin, spans, zipped, PATIENCE_SECONDS),
        ]
        assert all("Retry-After" in headers for status, headers, _ in answers if status == 503)
        return [status for status, _, _ in answers]

    assert statuses() == [200, 200, 202]
    with channel(limited) as slow:
        call = _stalled(limited, slow)
        assert statuses() == [503, 503, 503]
        refused = "sidelight_collector_refused_total"
        assert limited.metric(refused, signal="traces", reason="busy") == 3
        call.cancel()
        eventually(lambda: limited.metric("sidelight_collector_receive_buffered_bytes") == 0)
        assert statuses() == [200, 200, 202]


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_what_is_too_large_is_counted(limited: Collector, compression: grpc.Compression) -> None:
    """gRPC's library refuses it itself; operators still see it."""
    with channel(limited) as connection:
        with pytest.raises(grpc.RpcError) as caught:
            connection.unary_unary(EXPORT_TRACES)(
                bytes(2 * MIB), timeout=PATIENCE_SECONDS, compression=compression
            )
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        refused = "sidelight_collector_refused_total"
        eventually(lambda: limited.metric(refused, reason="too_large") == 1)
